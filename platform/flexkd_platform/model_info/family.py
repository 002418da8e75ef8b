"""What is known of an architecture: the paths of its modules and the keys of its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

HeadReads = Literal["first", "last", "eos", "mean"]
"""Which hidden states a classification head reads: the first position ([CLS]), the last one that is
not padding, the last end-of-text token, or the mean over all that are not padding."""


@dataclass(frozen=True)
class Stack:
    """One stack of hidden layers.

    path: of the list of layers inside the backbone.
    norm: path of the norm between the last layer and the head; None for an architecture without.
    norm_if: config keys and the values at which a model has that norm; none: it always does.
    inner: config key of the FFN's inner width; null there means 4 × the hidden size.
    layers: config key of their number.
    heads: config key of the number of attention heads of each.
    groups: config key of the number of modules at `path`, where each is applied as several layers
        in a row; None: one module per layer.
    after_first: path of a module whose output replaces that of the first layer, and the config key
        that is 0 in models without it.
    """

    path: str
    inner: str
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    norm: str | None = None
    norm_if: Mapping[str, bool] = field(default_factory=dict)
    groups: str | None = None
    after_first: tuple[str, str] | None = None


@dataclass(frozen=True)
class Family:
    """One architecture, by the `model_type` of its config.

    stacks: of layers, by name; a model of one stack has it under "", an encoder–decoder has
        "encoder" and "decoder", in this order.
    head_reads: what the classification head reads.
    head: parameter of the classification head whose rows are the outputs.
    dropouts: config keys of every dropout probability that acts on this architecture.
    language_model: kind of language model that transformers loads it as; None: not supported.
    logit_bias: buffer of the language model that is added to its logits.
    optional: prefixes of backbone weights that a checkpoint may lack; they are then initialized.
    head_size: config key of the width of one attention head; None, or null there: hidden size /
        heads.
    key_value_heads: config key of the number of key-value heads; None: one per head.
    embedding_size: config key of the word embedding's width; None: the hidden size.
    positions: config key of the number of positions; None: relative positions, no limit.
    first_position: position of the first token, by which the longest input is shorter than the
        number of positions; "pad": one after the padding token's id, as in RoBERTa.
    per_layer: config keys of lists with one entry per layer.
    hidden_sizes: config keys whose value is always the hidden size.
    pooling: config key that says whether the classification head reads `cls` or `mean`.
    pretrained_head: prefixes of the classification head's modules that a checkpoint without
        classification head may hold: they are kept, not drawn.
    output_names: names of the language-model head's weights in checkpoints.
    settings: config keys that the model reads if they are there, and that have no default.
    not_cut: why a smaller copy cannot be cut from it; None: it can.
    decoding: `cached` if the next token of texts that are padded on the left can be found with a
        cache of keys and values; `whole`: it is found from all tokens, padded on the right.
    left_padding: whether a classifier's texts may be padded on the left.
    discovered: whether this was found by trying, see `models.discovery`. Such a model is a teacher
        or a pretrained student; rules for cutting it are not known.
    unsupported: why it cannot be used as a `classifier`, a `writer` of text, or a `student`.
    """

    stacks: Mapping[str, Stack]
    head_reads: HeadReads
    head: str
    dropouts: tuple[str, ...]
    language_model: Literal["causal", "seq2seq"] | None = None
    logit_bias: str | None = None
    optional: tuple[str, ...] = ()
    head_size: str | None = None
    key_value_heads: str | None = None
    embedding_size: str | None = None
    positions: str | None = "max_position_embeddings"
    first_position: int | Literal["pad"] = 0
    per_layer: tuple[str, ...] = ()
    hidden_sizes: tuple[str, ...] = ()
    pooling: str | None = None
    pretrained_head: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ("lm_head.weight",)
    settings: tuple[str, ...] = ()
    not_cut: str | None = None
    decoding: Literal["cached", "whole"] = "cached"
    left_padding: bool = True
    discovered: bool = False
    unsupported: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoder_decoder(self) -> bool:
        """Whether there are two stacks, the second of which reads the first."""
        return len(self.stacks) > 1
