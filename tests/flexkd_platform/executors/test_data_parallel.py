"""Results do not depend on how many workers compute a batch, or in how many pieces."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.artifacts import read_log
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.plan import Plan, Trial
from flexkd_platform.spec import Resources
from flexkd_platform.store import Store, open_store
from flexkd_platform.training.objective import CORRELATION_QUANTILES

from ..tiny_jobs import (
    WRITERS,
    Heard,
    PlanOf,
    SpecOf,
    metrics_of,
    run_shared,
    run_trials,
    writing_json,
)
from .group_of import train_in_group

pytestmark = pytest.mark.slow

METHODS: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "kd"},
    {"kind": "minillm"},
    {"kind": "jsd"},
    {"kind": "skew_fkl"},
    {"kind": "skew_rkl"},
    {"kind": "tvd", "top_k": 2},
    {"kind": "projector", "layers": "every"},
    {"kind": "cka", "layers": "every", "form": "kornblith"},
    {"kind": "flexkd", "target": "directions", "beta": 0.5},
    {"kind": "procrustes"},
    {"kind": "gram"},
    {"kind": "projector"},
    {"kind": "projector", "loss": "correlation"},
    {"kind": "cka"},
    {"kind": "flexkd", "loss": "correlation"},
    {"kind": "flexkd", "loss": "mse"},
    {"kind": "projector", "normalise": "gradient"},
    # The feature loss alone leaves the head without a gradient, on every worker.
    {"kind": "flexkd", "lambda": 0.0},
]

WRITING: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "seqkd"},
    {"kind": "kd", "lambda": 0.5},
    {"kind": "minillm", "top_k": 20},
    {"kind": "minillm", "on_policy": {"teacher_mix": 0.5, "share": 0.5, "max_new_tokens": 4}},
    {"kind": "projector", "layers": "every", "beta": 1.0, "lambda": 1.0},
    {"kind": "cka", "layers": "every"},
    {"kind": "flexkd", "alpha": 0.05, "beta": 1.0, "lambda": 0.0, "logit": {"kind": "reverse_kl"}},
    {"kind": "flexkd", "beta": 0.0, "lambda": 0.0},
    {"kind": "gram", "normalise": "gradient"},
]

FEW: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "kd"},
    {"kind": "flexkd", "loss": "mse", "beta": 0.5},
    {"kind": "projector", "normalise": "gradient"},
]
"""Methods of students of few labels."""

MEASURED = 5e-4
"""Relative, for what students are measured at. A correlation does not change when a unit is shifted
or scaled, so those weights have a gradient of 0 but for rounding, and Adam makes steps of that."""

FIRST = 5e-5
"""Relative, for every number of the first step, the gradient's norm among them."""

LATER = 4e-4
"""Relative, for the steps after it in micro-batches: rounding has gone through Adam as described
above. The largest that was seen, 2.3e-4, is of a divergence of 0.003 beside a correlation."""

CORRELATIONS = {f"train/{name}" for name in CORRELATION_QUANTILES}

ROWS = {"odd last batch": 29, "last batch of one": 33}
"""Training rows, in batches of 16."""


@dataclass(frozen=True)
class Way:
    """What changes no result: a number of workers, and their resources.

    rows: of `ROWS`, on which it is trained; besides the text of both tasks.
    share: which half of the methods is trained: 0 or 1. None: all of them, and with the cached and
        the live teacher on the first data set.
    """

    workers: int
    resources: Resources
    rows: tuple[str, ...]
    share: int | None = None


# No checkpoint: how one is written and read is not what is asked here.
PLAIN = {"checkpoint_steps": 1000}

# Every method is trained sharded, in micro-batches, and by two workers in micro-batches.
WAYS = {
    "two workers": Way(2, Resources(**PLAIN), tuple(ROWS)),
    "two workers, sharded": Way(
        2,
        Resources(parallel="fsdp", teacher_placement="sharded", **PLAIN),
        ("last batch of one",),
        share=0,
    ),
    "micro-batches": Way(1, Resources(micro_batch=3, **PLAIN), ("odd last batch",), share=1),
    "two workers, micro-batches": Way(
        2, Resources(micro_batch=3, **PLAIN), ("last batch of one",), share=0
    ),
    "two workers, sharded, micro-batches": Way(
        2, Resources(parallel="fsdp", micro_batch=3, **PLAIN), ("odd last batch",), share=1
    ),
}


@dataclass(frozen=True)
class Reference:
    """Trials, a store with what they need, and one where one worker has trained them at once."""

    trials: tuple[Trial, ...]
    prepared: Store
    trained: Store


@pytest.fixture(scope="module")
def references(
    spec_of: SpecOf, plan_of: PlanOf, material: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Reference]:
    """Every method, with the cached and the live teacher, on labels and on text."""
    plans = {name: _plan(spec_of, plan_of, material, rows) for name, rows in ROWS.items()}
    plans |= {task: _writing_plan(spec_of, plan_of, task) for task in WRITERS}
    for task in ("classification", "regression"):
        plans[f"{task} of few labels"] = _few_labels_plan(spec_of, plan_of, material, task)
    found = {}
    for name, plan in plans.items():
        prepared = tmp_path_factory.mktemp("prepared")
        run_shared(plan, InProcessExecutor(open_store(str(prepared)), Resources(teacher_cpus=1)))
        trained = tmp_path_factory.mktemp("trained") / "store"
        shutil.copytree(prepared, trained)
        store, heard = open_store(str(trained)), Heard()
        run_trials(InProcessExecutor(store, Resources()), plan.trials, heard)
        assert heard.failures == {}
        found[name] = Reference(plan.trials, open_store(str(prepared)), store)
    return found


@dataclass(frozen=True)
class Trained:
    """Trials that were trained in a way, and the store that has them and their reference."""

    trials: list[Trial]
    store: Store
    reference: Store


@pytest.fixture(scope="module")
def trained(
    references: dict[str, Reference], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Trained]]:
    """Every way; those of two workers in one group of two processes."""
    found: dict[str, list[Trained]] = {}
    for name, way in WAYS.items():
        found[name] = []
        for place, reference in references.items():
            if place in ROWS and place not in way.rows:
                continue
            folder = tmp_path_factory.mktemp("way") / "store"
            shutil.copytree(reference.prepared.root, folder)
            trials = list(reference.trials)
            if way.share is not None or place != "odd last batch":
                trials = fewer(trials, live=way.resources.teacher_placement == "sharded")
            if way.share is not None:
                trials = trials[way.share :: 2]
            trials = [trial for trial in trials if possible(trial, way.resources)]
            found[name].append(Trained(trials, open_store(str(folder)), reference.trained))
    work = [
        (each.trials, each.store.uri, WAYS[name].resources)
        for name, all_of_it in found.items()
        for each in all_of_it
        if WAYS[name].workers == 2
    ]
    train_in_group(2, work, tmp_path_factory.mktemp("group") / "meeting")
    for name, all_of_it in found.items():
        for each in all_of_it if WAYS[name].workers == 1 else []:
            heard = Heard()
            run_trials(InProcessExecutor(each.store, WAYS[name].resources), each.trials, heard)
            assert heard.failures == {}
    return found


@pytest.mark.parametrize("way", WAYS)
def test_losses_do_not_depend_on_how_a_batch_is_computed(
    way: str, trained: dict[str, list[Trained]], record_property: Any
) -> None:
    """Two workers with b examples each are one with 2b, and so are its parts one by one."""
    worst: dict[str, float] = {}
    for each in trained[way]:
        one, store = each.reference, each.store
        for trial in each.trials:
            assert _largest_difference(trial, one, store, steps=1) < FIRST
            difference = _largest_difference(trial, one, store)
            name = f"{trial.method} {trial.distill.identity['method'].get('loss', '')}".strip()
            worst[name] = max(worst.get(name, 0.0), difference)
            assert metrics_of(trial, store) == pytest.approx(metrics_of(trial, one), rel=MEASURED)
    for name, difference in worst.items():
        record_property(name, difference)
        print(f"{name}: {difference:.1e}")
    assert max(worst.values()) < (LATER if WAYS[way].resources.micro_batch else 1e-4)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_few_labels_train_batches_without_a_label(
    task: str, references: dict[str, Reference]
) -> None:
    """The bounds above are of such batches too: their supervised loss is 0, not their gradient."""
    reference = references[f"{task} of few labels"]
    for trial in reference.trials:
        log = [entry.values for entry in read_log(trial.distill, reference.trained)]
        assert len(log) == 2 * 4  # of 24 rows, whatever a method reads
        assert all(values["train/grad_norm"] > 0 for values in log)
        # Fine-tuning reads the labelled rows alone, and each of its batches is one of those.
        assert (0.0 in [values["train/supervised"] for values in log]) == (trial.method != "ft")


def fewer(trials: list[Trial], *, live: bool) -> list[Trial]:
    """Every method once: with the cached or with the live teacher, or on the way it is here."""
    found: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: ("teacher" in trial.distill.needs) != live):
        found.setdefault(_setting(trial), trial)
    return [found[setting] for setting in dict.fromkeys(map(_setting, trials))]


def _setting(trial: Trial) -> str:
    method = trial.distill.identity["method"]
    return f"{json.dumps(method)} {trial.distill.identity.get('layers')}"


def possible(trial: Trial, resources: Resources) -> bool:
    """Responses are drawn, and units selected anew, by a whole model alone."""
    identity = trial.distill.identity
    if identity["method"].get("on_policy"):
        return resources.parallel == "ddp"
    return "reselect" not in identity or resources.teacher_placement != "sharded"


def _plan(spec_of: SpecOf, plan_of: PlanOf, material: Path, rows: int) -> Plan:
    data = {"source": "files", "path": str(material / "data"), "train": rows}
    return plan_of(
        spec_of(
            task={"kind": "classification", "data": data, "max_length": 20},
            distill={"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
            sweep={
                "methods": METHODS,
                "axes": {"distill.teacher_cache": ["auto", "off"]},
                "seeds": [1],
            },
        )
    )


def _writing_plan(spec_of: SpecOf, plan_of: PlanOf, task: str) -> Plan:
    """13 examples in batches of 6, the last of one: one of the two workers has no part of it."""
    axes = {"score.aggregation": ["global", "batch"]}
    sweep = {"methods": WRITING, "axes": axes, "seeds": [1]}
    return plan_of(spec_of(**writing_json(task) | {"sweep": sweep}))


def _few_labels_plan(spec_of: SpecOf, plan_of: PlanOf, material: Path, task: str) -> Plan:
    """3 of 24 rows have a label, in batches of 6: a worker, or the whole batch, often has none."""
    data = {"source": "files", "path": str(material / "data"), "train": 24}
    init = {"kind": "sliced", "layers": 2, "hidden_size": 12}
    return plan_of(
        spec_of(
            task={"kind": task, "data": data, "max_length": 20},
            student={"init": init, "labels": 3, "unlabelled": True},
            distill={"epochs": 2, "batch_size": 6, "learning_rate": 1e-3},
            sweep={"methods": FEW, "seeds": [1]},
            evaluate={},
        )
    )


def _largest_difference(trial: Trial, one: Store, two: Store, steps: int | None = None) -> float:
    """The largest relative difference of any number of the training of any, or the first, step."""
    logs = zip(read_log(trial.distill, one), read_log(trial.distill, two), strict=True)
    differences = []
    for first, second in itertools.islice(logs, steps):
        assert first.step == second.step
        assert first.values.keys() == second.values.keys()
        for name, value in first.values.items():
            if name.startswith("train/"):
                # A feature loss of one row is 0; a correlation is as exact near 0 as at 1.
                scale = 1.0 if name in CORRELATIONS else max(abs(value), 1e-2)
                differences.append(abs(second.values[name] - value) / scale)
            else:
                assert second.values[name] == pytest.approx(value, rel=MEASURED)
    return max(differences)
