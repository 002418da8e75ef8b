"""Regression on labels of any scale: y → a·y + b, with a > 0, changes the unit and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from flexkd_platform.artifacts import LabelUnit, read_rows
from flexkd_platform.models import label_unit, load_saved
from flexkd_platform.plan import TeacherConfig, with_config
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.training.teacher_signal import ConvertedSignal, TeacherRows

from ..lab import Lab, training_of

SCALES = {"thousands": (1000.0, 5000.0), "years": (10.0, 2000.0), "small": (1e-4, 0.0)}
METHODS = "{kind: ft}", "{kind: kd, beta: 0.5, lambda: 0.5}", "{kind: flexkd, beta: 0.5}"
REGRESSION = ("task.kind=regression", "distill.learning_rate=0.01", "distill.batch_size=7")


def scaled(folder: Path, scale: float, shift: float, name: str) -> str:
    """A copy of the ratings in another unit."""
    target = folder / name
    if not target.exists():
        target.mkdir()
        for file in (folder / "ratings").glob("*.jsonl"):
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            lines = [json.dumps(row | {"label": scale * row["label"] + shift}) for row in rows]
            (target / file.name).write_text("\n".join(lines) + "\n")
    return name


def metrics_of(lab: Lab, method: str, data: str, *more: str) -> dict[str, float]:
    trial = lab.trial(method, *REGRESSION, *more, data=data)
    lab.run(trial)
    found = {}
    for step in (trial.distill, trial.evaluate):
        found |= lab.store.manifest(step).summary["metrics"]
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_metrics_follow_the_unit(lab: Lab, method: str, scale: str) -> None:
    """Correlations are invariant, and the squared error is multiplied by a²."""
    factor, shift = SCALES[scale]
    before = metrics_of(lab, method, "ratings")
    after = metrics_of(lab, method, scaled(lab.folder, factor, shift, scale))
    # fp32 rounding of the standardised labels is amplified by 8 steps of training.
    assert after["test/pearson"] == pytest.approx(before["test/pearson"], abs=1e-3)
    assert after["train/loss"] == pytest.approx(before["train/loss"], rel=1e-3)
    assert after["validation/mse"] / factor**2 == pytest.approx(before["validation/mse"], rel=1e-3)


def test_few_labels_have_their_own_unit(lab: Lab) -> None:
    """A student without a teacher knows nothing of the other labels, their mean included."""
    few = "student.labels=6"
    trial = lab.trial("{kind: ft}", *REGRESSION, few, data="ratings")
    training = training_of(trial.distill, lab.store)
    table = read_rows(lab.store.folder(trial.distill.config.dataset), "train")
    labels_N = table["label"].to_numpy()
    drawn_N = labels_N[list(training.rows.labelled)]
    assert label_unit(training.model) == LabelUnit(drawn_N.mean(), drawn_N.std())
    assert label_unit(training.model) != LabelUnit.of(labels_N)


def test_the_teachers_outputs_are_in_the_unit_of_the_student(lab: Lab) -> None:
    trial = lab.trial(METHODS[1], *REGRESSION, "student.labels=6", data="ratings")
    training = training_of(trial.distill, lab.store)
    signal = training.objective.targets
    assert isinstance(signal, ConvertedSignal)
    (teacher,) = with_config([trial.distill, *trial.distill.upstream()], TeacherConfig)
    model, _ = load_teacher(teacher, lab.store)
    rows = [0, 3]
    found = signal(rows, training.data.batch(rows)).outputs
    plain = signal.signal(rows, training.data.batch(rows)).outputs
    assert found is not None
    assert plain is not None
    own, theirs = label_unit(training.model), label_unit(model)
    assert own is not None
    assert theirs is not None
    assert np.allclose(own.restored(found.numpy()), theirs.restored(plain.numpy()), rtol=1e-5)


def test_predictions_are_in_the_unit_of_the_data(lab: Lab) -> None:
    data = scaled(lab.folder, 1000.0, 5000.0, "thousands")
    trial = lab.trial("{kind: ft}", *REGRESSION, data=data)
    lab.run(trial)
    predictions = pq.read_table(lab.store.file(trial.evaluate, "predictions.parquet"))
    table = read_rows(lab.store.folder(trial.distill.config.dataset), "test")
    assert predictions["label"].to_pylist() == table["label"].to_pylist()
    outputs_N = np.array(predictions["outputs"].to_pylist())[:, 0]
    assert 4000 < outputs_N.mean() < 9000
    unit = LabelUnit.of_table(read_rows(lab.store.folder(trial.distill.config.dataset), "train"))
    assert lab.store.manifest(trial.distill).summary["label_unit"] == {
        "mean": unit.mean,
        "std": unit.std,
    }
    model, _ = load_saved(lab.store.folder(trial.distill) / "model")
    assert label_unit(model) == unit


def test_units_convert_and_restore() -> None:
    one, two = LabelUnit(5.0, 2.0), LabelUnit(-1.0, 4.0)
    labels_N = np.array([1.0, np.nan, 9.0])
    factor, shift = one.conversion(two)
    assert np.allclose(
        one.standardised(labels_N) * factor + shift, two.standardised(labels_N), equal_nan=True
    )
    assert np.allclose(one.restored(one.standardised(labels_N)), labels_N, equal_nan=True)
    assert LabelUnit.of(labels_N) == LabelUnit(5.0, 4.0)
    assert LabelUnit.of(np.array([3.0, 3.0])) == LabelUnit(3.0, 1.0)


def test_a_signal_without_outputs_is_left_alone() -> None:
    def signal(rows: Any, batch: Any) -> TeacherRows:
        return TeacherRows({0: torch.ones(1, 2)}, None, None)

    found = ConvertedSignal(signal, 2.0, 1.0)([0], None)  # type: ignore[arg-type]
    assert found.outputs is None
