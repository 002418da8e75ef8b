"""Metrics of a model's outputs on encoded examples, without generating text.

Shapes: N rows compared, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flexkd_core import RowTerm, chunked_rows_loss, token_cross_entropy

from ..artifacts import LabelUnit
from ..models import label_unit, output_head
from ..plan import LabelReading, Reading
from ..spec import TASK_KINDS, ResponseTask
from ..tasks import Examples, best_cut, head_of, logit_of
from .hidden_states import HEAD_INPUT, LOGITS, HiddenStateModel, finite_rows, forward
from .objective import CHUNK

PREDICT_BATCH = 64
"""Labelled examples per forward without gradients."""

READ_BATCH = 16
"""Text examples per forward without gradients."""


def compute_metrics(
    model: nn.Module,
    examples: Examples,
    task: str,
    split: str,
    device: torch.device,
    cut: float = 0.0,
) -> dict[str, float]:
    """Every metric of a labelled task; `nll`, in nats per response token, for generation tasks.

    cut: of a multi-label task, see `multilabel_cut`.

    Raises:
        FloatingPointError: an output is NaN or infinite; names the first example.
    """
    if issubclass(TASK_KINDS[task], ResponseTask):
        return {"nll": _nll(model, examples, split, device)}
    logits_NC = predict(model, examples, device)
    check_outputs(logits_NC, split)
    labels_N = examples.batch(range(len(examples))).labels_N
    unit = label_unit(model) or LabelUnit()
    return label_metrics(
        task, unit.restored(logits_NC.numpy()) - cut, unit.restored(labels_N.double().numpy())
    )


def multilabel_cut(
    reading: Reading, model: nn.Module, validation: Callable[[], Examples], device: torch.device
) -> float:
    """The logit above which a multi-label task predicts a class; 0 for other tasks.

    validation: the examples that it is chosen on, if the task says so.
    """
    if not isinstance(reading, LabelReading) or not reading.multilabel:
        return 0.0
    if reading.threshold != "validation":
        return logit_of(reading.threshold)
    examples = validation()
    logits_NC = predict(model, examples, device)
    check_outputs(logits_NC, "validation")
    labels_NC = examples.batch(range(len(examples))).labels_N
    return best_cut(logits_NC.double().numpy(), labels_NC.double().numpy())


def label_metrics(
    task: str, outputs_NC: NDArray[np.float64], labels_N: NDArray[np.float64]
) -> dict[str, float]:
    """Every metric of a labelled task; numbers are in the unit of the data."""
    metrics = head_of(task).metrics
    assert metrics is not None, f"{task} has no labels"
    return metrics(outputs_NC, labels_N)


def better(task: str, metrics: dict[str, float], than: dict[str, float] | None) -> bool:
    """Whether the metrics of one checkpoint beat another's; an earlier one wins a tie."""
    name = TASK_KINDS[task].validation_metric
    if than is None:
        return True
    if name in TASK_KINDS[task].lower_is_better:
        return metrics[name] < than[name]
    return metrics[name] > than[name]


@torch.no_grad()
def predict(model: nn.Module, examples: Examples, device: torch.device) -> Tensor:
    """Outputs (N, C), fp32 on the CPU, of every example of a labelled split, in its order."""
    was_training = model.training
    model.eval()
    extractor = HiddenStateModel(model)
    outputs = []
    # By length: a batch is padded to its longest row, and prediction does not depend on order.
    order = sorted(range(len(examples)), key=examples.length)
    for start in range(0, len(order), PREDICT_BATCH):
        batch = examples.batch(order[start : start + PREDICT_BATCH])
        outputs.append(forward(extractor, batch, device)[LOGITS].float().cpu())
    model.train(was_training)
    predicted_NC = torch.cat(outputs)
    in_order_NC = torch.empty_like(predicted_NC)
    in_order_NC[torch.tensor(order)] = predicted_NC
    return in_order_NC


@torch.no_grad()
def _nll(model: nn.Module, examples: Examples, split: str, device: torch.device) -> float:
    """Mean over all response tokens of −log p(token), given the reference tokens before it."""
    was_training = model.training
    model.eval()
    extractor, head = HiddenStateModel(model), output_head(model)
    total, tokens = 0.0, 0
    order = sorted(range(len(examples)), key=examples.length)
    for start in range(0, len(order), READ_BATCH):
        rows = order[start : start + READ_BATCH]
        batch = examples.batch(rows)
        found = chunked_rows_loss(
            forward(extractor, batch, device)[HEAD_INPUT],
            head.weight,
            {"nll": RowTerm(1.0, token_cross_entropy, "labels")},
            student_bias_V=head.bias_V,
            student_map=head.logit_map,
            labels_N=batch.labels_N.to(device),
            chunk=CHUNK,
            denominator=1,
        )
        value = float(found.terms["nll"])
        if value != value or value in (float("inf"), float("-inf")):
            raise FloatingPointError(
                f"the outputs are NaN or infinite on one of the {split} examples {sorted(rows)}"
            )
        total, tokens = total + value, tokens + len(batch.labels_N)
    model.train(was_training)
    return total / max(tokens, 1)


def check_outputs(logits_NC: Tensor, split: str) -> None:
    """Reject outputs that are not finite, since no metric can be computed from them.

    Raises:
        FloatingPointError: an output is NaN or infinite; names the first example.
    """
    finite = finite_rows(logits_NC)
    if not all(finite):
        place = finite.index(False)
        raise FloatingPointError(f"the outputs are NaN or infinite on {split} example {place}")
