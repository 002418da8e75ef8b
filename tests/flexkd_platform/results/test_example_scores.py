"""Scores of single examples, read from what an evaluate step publishes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_core.statistics import crossed_mean, mcnemar, sign_flip_test
from flexkd_platform.results.comparison import group_trials
from flexkd_platform.results.example_scores import (
    ExampleScores,
    crossed,
    difference,
    examples_test,
)
from flexkd_platform.tasks import head_of
from flexkd_platform.tracking import TrialRecord

SEEDS = (10, 20, 30)
EXAMPLES = 80


def record(method: str, seed: int, metrics: dict[str, float]) -> TrialRecord:
    settings = {"method.kind": method}
    return TrialRecord(f"{method}-{seed}", method, {}, settings, seed, "done", metrics, 1.0)


class Folder:
    """Predictions of trials in a folder, and the trials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reads = 0

    def file_of(self, trial: TrialRecord, name: str) -> Path | None:
        self.reads += 1
        file = self.folder / f"{trial.hash}-{name}.parquet"
        return file if file.exists() else None

    def write(
        self, method: str, seed: int, table: pa.Table, metrics: dict[str, float]
    ) -> TrialRecord:
        pq.write_table(table, self.folder / f"{method}-{seed}-test.parquet")
        return record(method, seed, {f"test/{name}": value for name, value in metrics.items()})


def labelled(task: str, seed: int, noise: float) -> tuple[pa.Table, dict[str, float]]:
    """One model's outputs on 80 examples, the same ones for every seed, and its metrics."""
    fixed, generator = np.random.default_rng(0), np.random.default_rng(seed)
    if task == "classification":
        labels_N = fixed.integers(0, 3, EXAMPLES)
        outputs_NC = np.eye(3)[labels_N] + noise * generator.normal(size=(EXAMPLES, 3))
    else:
        labels_N = fixed.normal(size=EXAMPLES)
        outputs_NC = (labels_N + noise * generator.normal(size=EXAMPLES))[:, None]
    metrics = head_of(task).metrics
    assert metrics is not None
    table = pa.table({"label": labels_N, "outputs": outputs_NC.tolist()})
    return table, metrics(outputs_NC, labels_N.astype(np.float64))


def trials_of(folder: Folder, task: str) -> dict[str, list[TrialRecord]]:
    return {
        method: [
            folder.write(method, seed, *labelled(task, seed + offset, noise)) for seed in SEEDS
        ]
        for method, offset, noise in (("ft", 0, 0.9), ("kd", 1, 0.5))
    }


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_metric_of_labelled_tasks_has_the_noise_of_examples(
    task: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    trials = trials_of(folder, task)
    names = list(trials["ft"][0].metrics)
    examples = ExampleScores(folder.file_of)
    groups = group_trials(
        [*trials["ft"], *trials["kd"]], baseline="ft", metrics=names, examples=examples
    )
    kd = next(group for group in groups if group.method == "kd")
    assert kd.versus is not None
    for name in names:
        found = kd.versus[name]
        assert found.crossed is not None, name
        assert found.crossed.mean == pytest.approx(found.mean)
        assert (found.crossed.seeds, found.crossed.examples) == (3, EXAMPLES)
        assert kd.crossed[name].mean == pytest.approx(kd.metrics[name].mean)
        assert kd.crossed[name].se_examples >= 0
        assert found.p_examples is not None
        assert found.p_examples < 0.05, f"{name}: half the noise is seen on 80 examples"
    by_test = {name: kd.versus[name].examples_test for name in names}
    for name, test in by_test.items():
        expected = "exact permutation" if name == "test/accuracy" else "paired bootstrap"
        assert test == expected, name
    assert folder.reads == 6, "one file a trial, however many metrics"


def test_accuracy_by_hand(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    trials = trials_of(folder, "classification")
    examples = ExampleScores(folder.file_of)
    right_MSN = np.stack(
        [
            np.stack(
                [
                    np.array(table["outputs"].to_pylist()).argmax(axis=1)
                    == table["label"].to_numpy()
                    for seed in SEEDS
                    if (table := pq.read_table(tmp_path / f"{method}-{seed}-test.parquet"))
                ]
            )
            for method in ("kd", "ft")
        ]
    )
    ours, baseline = (examples.of(trials[name], "test/accuracy") for name in ("kd", "ft"))
    differences = difference(ours, baseline)
    difference_SN = right_MSN[0].astype(float) - right_MSN[1]
    assert crossed(differences) == crossed_mean(difference_SN)
    p, _ = examples_test(differences)
    assert p == sign_flip_test(difference_SN.sum(axis=0).astype(int))
    assert crossed(differences[:1]) is None, "one seed says nothing of others"
    assert examples_test(differences[:1]) == (mcnemar(*right_MSN[:, 0]), "exact McNemar")


def test_texts_have_the_mean_of_their_scores_over_decoding_seeds(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    table = pa.table(
        {
            "seed": [1, 1, 2, 2],
            "example": [0, 1, 0, 1],
            "prediction": ["a", "b", "c", "d"],
            "references": [["a"], ["b"], ["a"], ["b"]],
            "rougeL": [1.0, 0.0, 0.5, 0.25],
        }
    )
    trial = folder.write("ft", 10, table, {"rougeL": 0.4375, "nll": 3.0})
    examples = ExampleScores(folder.file_of)
    (scores,) = examples.of([trial], "test/rougeL")
    assert scores.values_N is not None
    assert scores.values_N.tolist() == [0.75, 0.125]
    assert examples.of([trial], "test/nll") == [], "a mean over tokens"


def test_without_the_same_examples_there_is_the_noise_of_seeds_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    trials = trials_of(folder, "classification")
    examples = ExampleScores(folder.file_of)
    missing = record("ft", 40, {"test/accuracy": 0.5})
    assert examples.of([*trials["ft"], missing], "test/accuracy") == []
    table, metrics = labelled("classification", 10, 0.9)
    other = folder.write("other", 10, table.slice(1), metrics)
    assert examples.of([trials["ft"][0], other], "test/accuracy") == []
    alone, theirs = (examples.of([one], "test/accuracy") for one in (other, trials["ft"][0]))
    assert difference(alone, theirs) == []
    assert examples_test([]) == (None, None)
    recorded = replace(missing, metrics={})
    assert examples.of([recorded], "test/accuracy") == []
