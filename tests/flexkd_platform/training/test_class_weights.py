"""Class weights: balanced ones, and the loss of a batch in one or several micro-batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flexkd_platform.plan import LabelReading
from flexkd_platform.plan.facts import ClassWeights
from flexkd_platform.tasks import LabelExamples
from flexkd_platform.training import SoloWorker
from flexkd_platform.training.class_weights import class_weights, weighed
from flexkd_platform.training.micro_batch import MicroBatchOutputs
from flexkd_platform.training.objective import DistillationObjective

from ..lab import method_of

LABELS = torch.tensor([0, 0, 0, 2, 2, 0])
HOT = torch.tensor([[1, 0, 1], [1, 1, 1], [0, 0, 1], [0, 0, 1]]).float()


def examples(labels: Tensor) -> LabelExamples:
    ids = tuple((1, 2) for _ in labels)
    return LabelExamples(ids, (), labels, 0)


def reading(weights: ClassWeights, task: str = "classification") -> LabelReading:
    return LabelReading(task, 3, 12, "right", class_weights=weights)


def test_balanced_is_that_of_scikit_learn() -> None:
    # sklearn.utils.class_weight: n_samples / (n_classes * count); here for the head's 3 classes.
    found = class_weights(reading("balanced"), examples(LABELS))
    assert found is not None
    assert found.tolist() == [6 / (3 * 4), 1, 6 / (3 * 2)]


def test_balanced_labels_are_negatives_by_positives() -> None:
    found = class_weights(reading("balanced", "multilabel"), examples(HOT))
    assert found is not None
    assert found.tolist() == [1, 3, 1]  # the last one is in every row


def test_rows_without_a_label_do_not_count() -> None:
    masked = torch.cat([LABELS, torch.full((9,), -100)])
    found = class_weights(reading("balanced"), examples(masked))
    assert torch.equal(found, class_weights(reading("balanced"), examples(LABELS)))  # type: ignore[arg-type]
    hot = torch.cat([HOT, torch.full((2, 3), torch.nan)])
    found = class_weights(reading("balanced", "multilabel"), examples(hot))
    assert found is not None
    assert found.tolist() == [1, 3, 1]
    data = weighed(examples(masked), torch.tensor([2.0, 1, 4]))
    assert data.label_weight(range(15)) == 4 * 2 + 2 * 4


def test_none_weighs_nothing() -> None:
    data = examples(LABELS)
    assert class_weights(reading("none"), data) is None
    assert weighed(data, None).label_weight([0]) is None


@pytest.mark.parametrize("size", [6, 4, 1])
def test_the_loss_of_a_batch_is_that_of_torch_in_any_micro_batches(size: int) -> None:
    weights_C = torch.tensor([0.5, 1, 3]).double()
    data = weighed(examples(LABELS), weights_C)
    logits_NC = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = DistillationObjective(
        method_of({"kind": "ft"}), "classification", class_weights=weights_C
    )
    total = 0.0
    for start in range(0, 6, size):
        rows = range(start, min(start + size, 6))
        part = MicroBatchOutputs(
            rows,
            data.batch(rows),
            True,
            {"logits": logits_NC[list(rows)]},
            {"targets": [6], "labels": [6]},
            label_weight=data.label_weight(range(6)),
        )
        total += objective(part, SoloWorker())["loss"].item()
    expected = torch.nn.functional.cross_entropy(logits_NC, LABELS, weight=weights_C)
    assert total == pytest.approx(expected.item(), rel=1e-12)
