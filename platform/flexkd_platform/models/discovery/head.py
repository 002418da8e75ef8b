"""Find a model's classification head: the position that it reads, and its output weights.

Shapes: B examples, T tokens, D hidden units, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from ...model_info.errors import ModelError
from ...model_info.family import HeadReads, Stack
from ..head import drawable, head_modules
from ..hidden_state_hook import HiddenStateHook
from .layers import LONG, OTHER_MODEL, ROWS, words
from .small import LABELS, make_small
from .trace import same

LENGTHS = (LONG, LONG - 3, LONG - 5)  # tokens of the examples of a padded batch
assert len(LENGTHS) == ROWS

_LEAST = 1e-6  # a gradient, as a share of the largest, that is not rounding


@dataclass(frozen=True)
class ClassifierHead:
    """head: the parameter whose rows are the outputs. left_padding: as in `Family`."""

    reads: HeadReads
    head: str
    left_padding: bool


def padded_inputs(side: str) -> dict[str, Tensor]:
    """Texts of several lengths, padded at a side."""
    ids_BT, mask_BT = words(LONG), torch.zeros(ROWS, LONG, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        mask_BT[row, slice(0, length) if side == "right" else slice(LONG - length, LONG)] = 1
    return {"input_ids": ids_BT * mask_BT, "attention_mask": mask_BT}


def alone(inputs: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    """One text of a padded batch without its padding."""
    here_T = inputs["attention_mask"][row].bool()
    ids_1T = inputs["input_ids"][row : row + 1, here_T]
    return {"input_ids": ids_1T, "attention_mask": torch.ones_like(ids_1T)}


def find_head(small: Any, stack: Stack) -> ClassifierHead:
    """The classification head of a small copy.

    Raises:
        ModelError: there is none, or what it reads is not supported.
    """
    if type(small) not in AutoModelForSequenceClassification._model_mapping:
        raise ModelError(
            f"transformers has no classification head for {small.model_type} models",
            OTHER_MODEL,
        )
    model = make_small(AutoModelForSequenceClassification, small)
    last = _last_module(model, stack)
    batch = padded_inputs("right")
    with torch.no_grad():
        logits_BC = model(**batch).logits
        for row in range(ROWS):
            if not same(model(**alone(batch, row)).logits[0], logits_BC[row]):
                raise _unsupported(small, "its outputs depend on the padding of a batch")
    reads = _reads(small, _gradient(model, last, batch), batch["attention_mask"])
    odd = [name for name in head_modules(model) if not drawable(model.get_submodule(name))]
    if odd:
        kind = type(model.get_submodule(odd[0])).__name__
        raise _unsupported(small, f"{odd[0]} of its classification head is a {kind}")
    left = reads != "first" and _reads_left_padding(model, last, logits_BC)
    return ClassifierHead(reads, _output_weights(model), left)


def _last_module(model: PreTrainedModel, stack: Stack) -> nn.Module:
    backbone = model.base_model
    path = stack.norm or f"{stack.path}.{len(backbone.get_submodule(stack.path)) - 1}"
    last: nn.Module = backbone.get_submodule(path)
    return last


def _reads(small: Any, gradient_BTD: Tensor, mask_BT: Tensor) -> HeadReads:
    """What a head reads of the last hidden state, from the gradient of its outputs.

    The gradient is zero but at one position; or, of a mean over the tokens, the same at every
    token and zero at the padding.

    Raises:
        ModelError: it reads something else.
    """
    if _is_mean(gradient_BTD, mask_BT):
        return "mean"
    moved_BT = gradient_BTD.abs().amax(dim=2)
    moves_BT = moved_BT > _LEAST * moved_BT.max().clamp(min=1e-30)
    read_B = [int(row.nonzero()[0]) if int(row.sum()) == 1 else None for row in moves_BT]
    if read_B == [0] * ROWS:
        return "first"
    if read_B == [length - 1 for length in LENGTHS]:
        return "last"
    raise _unsupported(small, f"its classification head reads {_shown(read_B)}")


def _is_mean(gradient_BTD: Tensor, mask_BT: Tensor) -> bool:
    largest = gradient_BTD.abs().max()
    if largest == 0:
        return False
    mean_BTD = gradient_BTD.sum(dim=1, keepdim=True) / mask_BT.sum(dim=1)[:, None, None]
    differs_BTD = gradient_BTD - mean_BTD * mask_BT[:, :, None]
    return bool(differs_BTD.abs().max() <= _LEAST * largest)


def _gradient(model: PreTrainedModel, last: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The gradient of a sum of the logits at the last hidden state, (B, T, D)."""
    with HiddenStateHook(last) as hook:
        logits_BC = model(**batch).logits
        hidden_BTD = hook.take()
    weights_C = torch.arange(1.0, logits_BC.shape[1] + 1)
    (gradient_BTD,) = torch.autograd.grad(
        (logits_BC * weights_C).sum(), [hidden_BTD], materialize_grads=True
    )
    return gradient_BTD


def _reads_left_padding(model: PreTrainedModel, last: nn.Module, logits_BC: Tensor) -> bool:
    """Whether texts give the same outputs when they are padded on the left."""
    right, batch = padded_inputs("right"), padded_inputs("left")
    for row, length in enumerate(LENGTHS):
        batch["input_ids"][row, LONG - length :] = right["input_ids"][row, :length]
    positions_BT = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    try:
        with torch.no_grad():
            found_BC = model(**batch, position_ids=positions_BT).logits
        return same(found_BC, logits_BC)
    except (TypeError, ValueError, IndexError, RuntimeError):  # it takes no positions
        return False


def _output_weights(model: PreTrainedModel) -> str:
    """Name of the head's parameter that has one row for each output."""
    backbone = f"{model.base_model_prefix}."
    found: list[str] = [
        name
        for name, weight in model.named_parameters()
        if not name.startswith(backbone) and weight.ndim == 2 and weight.shape[0] == LABELS
    ]
    if len(found) != 1:
        raise _unsupported(model.config, f"its output weights are one of {len(found)} parameters")
    return found[0]


def _shown(read_B: list[int | None]) -> str:
    if None in read_B:
        return "several positions, or none, of the last hidden state"
    return f"positions {', '.join(map(str, read_B))} of texts of {', '.join(map(str, LENGTHS))}"


def _unsupported(config: Any, reason: str) -> ModelError:
    return ModelError(
        f"{config.model_type} models cannot be classifiers here: {reason}",
        OTHER_MODEL,
    )
