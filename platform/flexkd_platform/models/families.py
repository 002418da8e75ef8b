"""The architectures that are known, and where each keeps what the platform reaches for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .errors import ModelError


@dataclass(frozen=True)
class Family:
    """One architecture, by the `model_type` of its config.

    layers: path of the list of hidden layers inside the backbone.
    head_reads: position whose hidden state the classification head reads: the first one ([CLS]),
        or the last one that is no padding.
    head: parameter of the classification head whose rows are the outputs.
    inner: config key of the FFN's inner width; null there means 4 × the hidden size.
    dropouts: config keys of every dropout probability that acts on this classifier.
    optional: prefixes of backbone weights that a checkpoint may lack; they are then drawn anew.
    head_size: config key of the width of one attention head; None: hidden size / heads.
    key_value_heads: config key of the number of key-value heads; None: one per head.
    same_width: config keys that follow the hidden size.
    """

    layers: str
    head_reads: Literal["first", "last"]
    head: str
    inner: str
    dropouts: tuple[str, ...]
    optional: tuple[str, ...] = ()
    head_size: str | None = None
    key_value_heads: str | None = None
    same_width: tuple[str, ...] = ()


FAMILIES: dict[str, Family] = {
    "bert": Family(
        layers="encoder.layer",
        head_reads="first",
        head="classifier.weight",
        inner="intermediate_size",
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
        # Masked-language-model checkpoints come without one.
        optional=("pooler.",),
    ),
    "distilbert": Family(
        layers="transformer.layer",
        head_reads="first",
        head="classifier.weight",
        inner="hidden_dim",
        dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
    ),
    "gpt2": Family(
        layers="h",
        head_reads="last",
        head="score.weight",
        inner="n_inner",
        dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    ),
    "opt": Family(
        layers="decoder.layers",
        head_reads="last",
        head="score.weight",
        inner="ffn_dim",
        dropouts=("dropout", "attention_dropout", "layerdrop"),
        same_width=("word_embed_proj_dim",),
    ),
    "llama": Family(
        layers="layers",
        head_reads="last",
        head="score.weight",
        inner="intermediate_size",
        dropouts=("attention_dropout",),
        head_size="head_dim",
        key_value_heads="num_key_value_heads",
    ),
}
"""Every known architecture; a new one is one entry."""


def family_of(model_type: str, *, encoder_decoder: bool = False) -> Family:
    """The entry of `FAMILIES` for a config's `model_type`.

    Raises:
        ModelError: the architecture is unknown, or has an encoder and a decoder.
    """
    known = ", ".join(FAMILIES)
    if encoder_decoder:
        raise ModelError(
            f"{model_type} models have an encoder and a decoder, which have layers of their own",
            f"name a model with one stack of layers: {known}",
        )
    if model_type not in FAMILIES:
        raise ModelError(
            f"the architecture {model_type!r} is not known", f"known architectures are {known}"
        )
    return FAMILIES[model_type]


def family_of_config(config: Any) -> Family:
    """The entry of `FAMILIES` for a transformers config. Raises as `family_of` does."""
    return family_of(config.model_type, encoder_decoder=config.is_encoder_decoder)
