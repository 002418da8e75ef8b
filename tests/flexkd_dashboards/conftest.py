"""A made-up job of the usual size, and how to take things away from it."""

from __future__ import annotations

import copy
import math
import random
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import ttest_rel

from flexkd_dashboards import ImportanceCurve, PublishedResult, ReportData, TrainingCurve

SEEDS = (10, 20, 30)
SETUPS: tuple[tuple[str, dict[str, Any], float, float], ...] = (
    # method, settings, accuracy, level of the loss
    ("ft", {}, 0.861, 0.7),
    ("kd", {"beta": 0.5}, 0.868, 0.5),
    ("projector", {"alpha": 0.05}, 0.863, 0.6),
    ("projector", {"alpha": 0.5}, 0.866, 0.9),
    ("cka", {"alpha": 1.0}, 0.864, 1.1),
    ("flexkd", {"alpha": 0.05}, 0.872, 5.0),
    ("flexkd", {"alpha": 0.5}, 0.879, 45.0),
)
COMPARISONS = len(SETUPS) - 1
T_95_OF_3 = 4.303  # Student's t, two degrees of freedom: printed in any table
METRIC = "test/accuracy"


def spread(values: list[float]) -> dict[str, Any]:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": mean, "std": None, "ci95": None, "interval": None, "noise": "seeds"}
    std = statistics.stdev(values)
    half = T_95_OF_3 * std / math.sqrt(len(values))
    interval = [mean - 1.5 * half, mean + 1.5 * half]  # wider than ci95: with the test examples
    return {
        "mean": mean,
        "std": std,
        "ci95": [mean - half, mean + half],
        "interval": interval,
        "noise": "seeds and examples",
    }


def versus(values: list[float], baseline: list[float]) -> dict[str, Any]:
    pairs = [a - b for a, b in zip(values, baseline, strict=True)]
    p = float(ttest_rel(values, baseline).pvalue)
    p_holm = min(1.0, COMPARISONS * p)
    return {
        "n": len(pairs),
        **spread(pairs),
        "p_t": p,
        "p_wilcoxon": None,
        "effect_size": 1.25,
        "noise": "seeds and examples",
        "p_holm": p_holm,
        "comparisons": COMPARISONS,
        "verdict": "distinguishable" if p_holm < 0.05 else "not distinguishable",
        "p_examples": 0.04,
        "examples_test": "exact permutation",
    }


def winner(n: int) -> dict[str, Any]:
    """The best on validation, by choice or by chance also on test."""
    return {
        "method": "flexkd",
        "params": {"alpha": 0.5},
        "n": n,
        "chosen_by": "validation/accuracy",
        "mean": 0.883,
        "std": 0.004,
        "reported_by": METRIC,
    }


def curve(method: str, params: dict[str, Any], seed: int, level: float) -> TrainingCurve:
    draw = random.Random(f"{method} {params} {seed}")
    steps = tuple(range(1, 189))
    loss = tuple(
        level * (0.35 + 0.75 * math.exp(-step / 60)) * (1 + 0.08 * draw.gauss(0, 1))
        for step in steps
    )
    accuracy = tuple(
        (step, 0.85 - 0.3 * math.exp(-step / 40) + 0.006 * draw.gauss(0, 1))
        for step in range(47, 189, 47)
    )
    return TrainingCurve(method, params, seed, steps, loss, {"validation/accuracy": accuracy})


def selection(label: str, seed: int, d_teacher: int = 384, d_student: int = 128) -> ImportanceCurve:
    draw = random.Random(seed)
    importance = tuple(0.004 * draw.lognormvariate(0, 0.8) for _ in range(d_teacher))
    order = sorted(range(d_teacher), key=lambda unit: -importance[unit])
    return ImportanceCurve(label, importance, tuple(order[:d_student]))


def sample_report(seeds: tuple[int, ...] = SEEDS) -> ReportData:
    draw = random.Random(0)
    trials, groups, curves = [], [], []
    baseline: list[float] = []
    for method, params, accuracy, level in SETUPS:
        values = [accuracy + 0.004 * draw.gauss(0, 1) for _ in seeds]
        baseline = baseline or values
        for seed, value in zip(seeds, values, strict=True):
            trials.append(
                {
                    "hash": f"{len(trials):064x}",
                    "method": method,
                    "params": params,
                    "seed": seed,
                    "status": "done",
                    "metrics": {METRIC: value, "test/f1": value - 0.004},
                    "seconds": 31.5,
                    "run_id": f"run-{len(trials)}",
                }
            )
            curves.append(curve(method, params, seed, level))
        groups.append(
            {
                "method": method,
                "params": params,
                "n": len(seeds),
                "metrics": {
                    METRIC: spread(values),
                    "test/f1": spread([value - 0.004 for value in values]),
                },
                "versus": None
                if method == "ft" or len(seeds) < 2
                else {METRIC: versus(values, baseline)},
            }
        )
    steps = [
        {"kind": kind, "hash": f"{i:x}" * 64, "status": "reused" if i < 3 else "ran", "seconds": s}
        for i, (kind, s) in enumerate(
            [("teacher", 0.0), ("score", 0.0), ("select", 0.1), ("teacher_cache", 12.4),
             ("distill", 661.8), ("evaluate", 40.2)], start=1
        )
    ]  # fmt: skip
    return ReportData(
        results={
            "job": {
                "name": "quickstart",
                "spec_hash": "3f9ab0c1" * 8,
                "status": "done",
                "seconds": 734.2,
            },
            "steps": steps,
            "teacher": {"parameters": 22_713_984, "metrics": {METRIC: 0.9127, "test/f1": 0.911}},
            "selection": [],
            "trials": trials,
            "groups": groups,
            **({} if len(seeds) < 2 else {"winner": winner(len(seeds))}),
        },
        spec_yaml="name: quickstart\nsweep:\n  methods:\n    - {kind: ft}\n  baseline: ft\n",
        metrics=(METRIC, "test/f1"),
        baseline="ft",
        curves=tuple(curves),
        importance=(selection("layer 6", seed=1),),
        versions={"torch": "2.13.0", "ray": "2.60.0"},
        reference=(
            PublishedResult("flexkd", "accuracy", 0.884, 0.002, "Saadi & Wang 2025, Table 2"),
        ),
    )


@pytest.fixture
def report() -> ReportData:
    """Five methods, three seeds."""
    return sample_report()


@pytest.fixture
def results(report: ReportData) -> dict[str, Any]:
    """A copy of its results to change."""
    return copy.deepcopy(dict(report.results))


@pytest.fixture
def make_report() -> Callable[..., ReportData]:
    """The sample with other seeds."""
    return sample_report


@pytest.fixture
def make_selection() -> Callable[..., ImportanceCurve]:
    """A selection with a label and a seed."""
    return selection
