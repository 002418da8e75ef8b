"""The supported architectures, and where each has the modules and settings that are needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import ModelError


@dataclass(frozen=True)
class Stack:
    """One stack of hidden layers.

    path: of the list of layers inside the backbone.
    norm: path of the norm between the last layer and the head; None for an architecture without.
    norm_if: config keys and the values at which a model has that norm; none: it always does.
    inner: config key of the FFN's inner width; null there means 4 × the hidden size.
    layers: config key of their number.
    heads: config key of the number of attention heads of each.
    """

    path: str
    inner: str
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    norm: str | None = None
    norm_if: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """One architecture, by the `model_type` of its config.

    stacks: of layers, by name; a model of one stack has it under "", an encoder–decoder has
        "encoder" and "decoder", in this order.
    head_reads: position whose hidden state the classification head reads: the first one ([CLS]),
        the last one that is not padding, or the last end-of-text token.
    head: parameter of the classification head whose rows are the outputs.
    dropouts: config keys of every dropout probability that acts on this architecture.
    language_model: kind of language model that transformers loads it as; None: not supported.
    logit_bias: buffer of the language model that is added to its logits.
    optional: prefixes of backbone weights that a checkpoint may lack; they are then initialized.
    head_size: config key of the width of one attention head; None: hidden size / heads.
    key_value_heads: config key of the number of key-value heads; None: one per head.
    embedding_size: config key of the word embedding's width; None: the hidden size.
    positions: config key of the longest input in tokens; None: relative positions, no limit.
    reserved_positions: how many of these positions hold no token, as RoBERTa's first two.
    language_head: parameter of the language model that is its head's weights.
    decoding: `cached` if the next token of texts that are padded on the left can be found with a
        cache of keys and values; `whole`: it is found from all tokens, padded on the right.
    left_padding: whether a classifier's texts may be padded on the left.
    discovered: whether this was found by trying, see `models.discovery`. Such a model is a teacher
        or a pretrained student; rules for cutting it are not known.
    unsupported: why it cannot be used as a `classifier`, a `writer` of text, or a `student`.
    """

    stacks: Mapping[str, Stack]
    head_reads: Literal["first", "last", "eos"]
    head: str
    dropouts: tuple[str, ...]
    language_model: Literal["causal", "seq2seq"] | None = None
    logit_bias: str | None = None
    optional: tuple[str, ...] = ()
    head_size: str | None = None
    key_value_heads: str | None = None
    embedding_size: str | None = None
    positions: str | None = "max_position_embeddings"
    reserved_positions: int = 0
    language_head: str = "lm_head.weight"
    decoding: Literal["cached", "whole"] = "cached"
    left_padding: bool = True
    discovered: bool = False
    unsupported: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoder_decoder(self) -> bool:
        """Whether there are two stacks, the second of which reads the first."""
        return len(self.stacks) > 1


FAMILIES: dict[str, Family] = {
    "bert": Family(
        stacks={"": Stack("encoder.layer", inner="intermediate_size")},
        head_reads="first",
        head="classifier.weight",
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
        # Masked-language-model checkpoints come without one.
        optional=("pooler.",),
    ),
    "distilbert": Family(
        stacks={"": Stack("transformer.layer", inner="hidden_dim")},
        head_reads="first",
        head="classifier.weight",
        dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
    ),
    "gpt2": Family(
        stacks={"": Stack("h", inner="n_inner", norm="ln_f")},
        head_reads="last",
        head="score.weight",
        dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        language_model="causal",
    ),
    "opt": Family(
        stacks={
            "": Stack(
                "decoder.layers",
                inner="ffn_dim",
                # Its input is as wide as the layers; project_out, of some models, comes after it.
                norm="decoder.final_layer_norm",
                norm_if={"do_layer_norm_before": True, "_remove_final_layer_norm": False},
            )
        },
        head_reads="last",
        head="score.weight",
        dropouts=("dropout", "attention_dropout", "layerdrop"),
        language_model="causal",
        embedding_size="word_embed_proj_dim",
    ),
    "llama": Family(
        stacks={"": Stack("layers", inner="intermediate_size", norm="norm")},
        head_reads="last",
        head="score.weight",
        dropouts=("attention_dropout",),
        language_model="causal",
        head_size="head_dim",
        key_value_heads="num_key_value_heads",
    ),
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
    "t5": Family(
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
    ),
}
"""Every known architecture; to add one, add an entry."""


def family_of(model_type: str) -> Family:
    """The entry of `FAMILIES` for a config's `model_type`; ModelError if it is unknown."""
    if model_type not in FAMILIES:
        raise unknown(model_type)
    return FAMILIES[model_type]


def unknown(model_type: str) -> ModelError:
    """The error of an architecture that neither `FAMILIES` nor transformers has."""
    return ModelError(
        f"unknown architecture {model_type!r}",
        f"known architectures are {', '.join(FAMILIES)}, and the other text models of transformers",
    )


def family_of_config(config: Any) -> Family:
    """The entry of `FAMILIES` for a transformers config. Raises as `family_of` does."""
    return family_of(config.model_type)


def layer_count(config: Any, stack: Stack) -> int:
    """How many layers a stack has."""
    return int(getattr(config, stack.layers))


def final_norm(config: Any, stack: Stack) -> str | None:
    """Path of the norm that ends a stack, inside the backbone; None if the model has none."""
    exists = all(getattr(config, key) is value for key, value in stack.norm_if.items())
    return stack.norm if exists else None


def head_size(config: Any, stack: Stack) -> int:
    """Width of one attention head of a stack."""
    key = family_of_config(config).head_size
    if key is not None:
        return int(getattr(config, key))
    return int(config.hidden_size // getattr(config, stack.heads))


def inner_size(config: Any, stack: Stack) -> int:
    """Inner width of the feed-forward part of a stack's layers."""
    inner = getattr(config, stack.inner)
    return int(4 * config.hidden_size if inner is None else inner)


def width_step(config: Any) -> int:
    """The number that the width of a smaller model must be a multiple of, to keep heads whole.

    The number of heads scales with the width. If the heads' total width is not the hidden size, as
    in some T5 models, any width is allowed.
    """
    sizes = [
        size if size * getattr(config, stack.heads) == config.hidden_size else 1
        for stack in family_of_config(config).stacks.values()
        for size in [head_size(config, stack)]
    ]
    return math.lcm(*sizes)
