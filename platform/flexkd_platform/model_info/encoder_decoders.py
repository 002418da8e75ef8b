"""Encoder–decoders: the architectures that read one text and write another."""

from __future__ import annotations

from .family import Family, Stack

_T5 = Family(
    stacks={
        side: Stack(
            f"{side}.block",
            inner="d_ff",
            layers=layers,
            heads="num_heads",
            # A dropout follows it, which is the identity in eval mode.
            norm=f"{side}.final_layer_norm",
        )
        for side, layers in (("encoder", "num_layers"), ("decoder", "num_decoder_layers"))
    },
    head_reads="eos",
    head="classification_head.out_proj.weight",
    dropouts=("dropout_rate", "classifier_dropout"),
    language_model="seq2seq",
    head_size="d_kv",
    positions=None,
)

ENCODER_DECODERS: dict[str, Family] = {
    "bart": Family(
        stacks={
            side: Stack(
                f"{side}.layers",
                inner=f"{side}_ffn_dim",
                layers=f"{side}_layers",
                heads=f"{side}_attention_heads",
            )
            for side in ("encoder", "decoder")
        },
        head_reads="eos",
        head="classification_head.out_proj.weight",
        dropouts=(
            "dropout",
            "attention_dropout",
            "activation_dropout",
            "classifier_dropout",
            "encoder_layerdrop",
            "decoder_layerdrop",
        ),
        language_model="seq2seq",
        logit_bias="final_logits_bias",
    ),
    "t5": _T5,
    "mt5": _T5,
}
"""By `model_type`."""
