"""The classification head: the position that it reads, and how a new one is initialized."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..spec import sha256_of
from .family import family_of_config, head_reads
from .layers import unwrapped

INIT_STD = 0.02
"""Standard deviation of a new head's weights: every known architecture's own default."""


def head_rows(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The positions of each example whose hidden state the classification head reads.

    Shapes: B examples, T tokens.

    BERT-like heads read position 0. Decoders' heads read the rightmost token that is not the
    config's padding token, as in transformers: this holds for left and right padding, and a text
    that itself ends with that token is read one token earlier.

    Heads of encoder–decoders read the decoder, whose input is the same text, at the last
    end-of-text token.

    Heads that read the mean of an example's hidden states read every position but the padding.

    Args:
        model: a classifier, which may be in a data-parallel wrapper.
        input_ids, attention_mask: (B, T), the model's inputs.

    Returns:
        Bool (B, T) with exactly one True in each row, or several if their mean is read.

    Raises:
        ValueError: the shapes differ; the head of a BERT-like model would read padding; a text of
            an encoder–decoder has no end-of-text token.
    """
    if input_ids.shape != attention_mask.shape or input_ids.ndim != 2:
        raise ValueError(
            f"input_ids {tuple(input_ids.shape)} and attention_mask "
            f"{tuple(attention_mask.shape)} must both be (examples, tokens) of one shape"
        )
    config = unwrapped(model).config
    places_T = torch.arange(input_ids.shape[1], device=input_ids.device)
    reads = head_reads(config)
    if reads == "mean":
        return attention_mask.bool()
    if reads == "first":
        if not bool(attention_mask[:, 0].all()):
            raise ValueError(
                f"a {config.model_type} head reads position 0, which is padding here; "
                "pad on the right"
            )
        read_B = torch.zeros_like(input_ids[:, 0])
    elif reads == "eos":
        ends_BT = input_ids == config.eos_token_id
        if not bool(ends_BT.any(dim=1).all()):
            raise ValueError(
                f"a {config.model_type} head reads the end-of-text token, which a text lacks; "
                "let the tokenizer add its special tokens"
            )
        read_B = (places_T * ends_BT).argmax(dim=-1)
    else:
        read_B = (places_T * (input_ids != config.pad_token_id)).argmax(dim=-1)
    return places_T == read_B[:, None]


def reads_mean(model: nn.Module) -> bool:
    """Whether the classification head reads the mean of an example's hidden states."""
    return head_reads(unwrapped(model).config) == "mean"


def head_modules(model: PreTrainedModel) -> list[str]:
    """Names of the modules that hold the head's weights, sorted."""
    backbone = f"{model.base_model_prefix}."
    names = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    return sorted(name for name in names if not f"{name}.".startswith(backbone))


def output_layer(model: PreTrainedModel) -> nn.Linear:
    """The head's last linear module, whose rows are the outputs."""
    name = family_of_config(model.config).head.rpartition(".")[0]
    last = model.get_submodule(name)
    assert isinstance(last, nn.Linear), f"{name} is a {type(last).__name__}"
    assert last.out_features == model.config.num_labels, "the last module of a head is its output"
    return last


@torch.no_grad()
def reorder_outputs(model: PreTrainedModel, order: Sequence[int]) -> None:
    """Permute the outputs of a head in place: output c becomes what output `order[c]` was."""
    layer, places = output_layer(model), torch.tensor(order)
    layer.weight.copy_(layer.weight[places])
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[places])


def set_class_names(config: Any, names: Sequence[str]) -> None:
    """Write the names of the outputs to a config; without names those of transformers."""
    shown = names or [f"LABEL_{index}" for index in range(config.num_labels)]
    config.id2label = dict(enumerate(shown))
    config.label2id = {name: index for index, name in enumerate(shown)}


def drawable(module: nn.Module) -> bool:
    """Whether `draw_linear` can reinitialize a module."""
    return isinstance(module, nn.Linear) or _is_norm(module)


def _is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Norm")


def draw_linear(model: PreTrainedModel, names: Iterable[str], *, seed: int) -> None:
    """Reinitialize the named linear modules and norms.

    Weights of linear modules are from N(0, 0.02²), those of norms 1, biases 0.

    The weights depend only on the seed and the modules' names and shapes, so a head of one width
    is the same for any body. Global random state is unchanged.
    """
    for name in names:
        module = model.get_submodule(name)
        assert drawable(module), f"{name} is a {type(module).__name__}"
        # One stream per name: with the seed alone, a head would repeat a random body's first draws.
        stream = int(sha256_of([seed, name])[:15], 16)
        generator = torch.Generator().manual_seed(stream)
        with torch.no_grad():
            if _is_norm(module):
                module.weight.fill_(1)
            else:
                module.weight.normal_(0, INIT_STD, generator=generator)
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
