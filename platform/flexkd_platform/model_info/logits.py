"""Which settings of a config turn the product of a language model's head into its logits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogitKeys:
    """Config keys of what is done to the product; null or missing there: nothing.

    cap: of the soft cap.
    multiplier, divisor: of the scale, which is one or the other.
    """

    cap: str | None = None
    multiplier: str | None = None
    divisor: str | None = None


_CAPPED = LogitKeys(cap="final_logit_softcapping")
_MULTIPLIED = LogitKeys(multiplier="logit_scale")
_DIVIDED = LogitKeys(divisor="logits_scaling")

LOGIT_KEYS: dict[str, LogitKeys] = {
    **dict.fromkeys(
        ("beam", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "nanochat", "vaultgemma"),
        _CAPPED,
    ),
    "recurrent_gemma": LogitKeys(cap="logits_soft_cap"),
    "xlstm": LogitKeys(cap="output_logit_soft_cap"),
    **dict.fromkeys(("cohere", "cohere2", "cohere2_moe"), _MULTIPLIED),
    "falcon_h1": LogitKeys(multiplier="lm_head_multiplier"),
    # Of the same name as Granite's, which divides.
    "hyperclovax": LogitKeys(multiplier="logits_scaling"),
    **dict.fromkeys(
        (
            "granite",
            "granite_swa",
            "granitemoe",
            "granitemoe_swa",
            "granitemoehybrid",
            "granitemoeshared",
        ),
        _DIVIDED,
    ),
}
"""By `model_type`; the logits of other architectures are the product itself.

A scale before the head, as T5's, is part of the head's input.
"""
