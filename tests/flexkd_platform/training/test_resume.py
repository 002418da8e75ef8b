"""A training that was cut off anywhere ends as one that was not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.artifacts import read_log
from flexkd_platform.plan import Trial
from flexkd_platform.spec import Resources
from flexkd_platform.steps import run_step

from ..lab import train_student

pytestmark = pytest.mark.slow

WAYS: dict[str, tuple[str, list[str], Resources]] = {
    "fine-tuning": ("{kind: ft}", [], Resources()),
    "with dropout": ("{kind: kd}", ["distill.dropout=0.2"], Resources()),
    "the best epoch": ("{kind: projector}", ["distill.keep=best"], Resources()),
    "units selected anew": (
        "{kind: flexkd}",
        ["score={aggregation: batch, every: 3}"],
        Resources(),
    ),
    "a normalised feature loss": ("{kind: projector, normalise: gradient}", [], Resources()),
    "random batches": ("{kind: cka}", ["distill.batches=random"], Resources()),
    "micro-batches": ("{kind: cka}", ["distill.dropout=0.2"], Resources(micro_batch=3)),
    "few labels": ("{kind: kd}", ["student.labels=10", "student.unlabelled=true"], Resources()),
    "within an epoch": ("{kind: flexkd}", [], Resources(checkpoint_steps=3)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stops", [(1,), (5,), (4, 10)], ids=str)
def test_it_goes_on_where_it_was(
    way: str, stops: tuple[int, ...], fresh: Callable[[], Any]
) -> None:
    """12 steps in 3 epochs, cut off after some of them, to the last bit of the weights."""
    method, overrides, resources = WAYS[way]
    lab = fresh()
    trial = lab.trial(method, "distill.epochs=3", *overrides)
    whole = bytes_of(lab, trial, resources)
    log = read_log(trial.distill, lab.store)
    lab = lab.without(trial.distill)
    told: list[int] = []
    for stop in stops:
        training: Any = train_student(trial.distill, lab.store, resources)
        for progress in training:
            told.append(progress.done)
            if progress.done == stop:
                training.close()  # as a lost process: nothing is published
    assert not lab.store.has(trial.distill)
    again = bytes_of(lab, trial, resources, told)
    assert again == whole
    assert read_log(trial.distill, lab.store) == log
    every = resources.checkpoint_steps or 4
    # WorkerMessage again are only the steps since the last checkpoint.
    repeated = sum(stop % every for stop in stops)
    assert len(told) == 12 + repeated
    assert lab.store.parts(trial.distill) == set()


def test_its_seconds_are_those_of_all_steps_that_count(
    fresh: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that goes on by one second after each step."""
    lab, now = fresh(), [0.0]
    trial = lab.trial("{kind: ft}", "distill.epochs=3")
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    for stop in (7, None):
        training: Any = train_student(trial.distill, lab.store)
        for progress in training:
            now[0] += 1
            if progress.done == stop:
                training.close()
    # The checkpoint of the fourth step is written before the clock goes on; the steps that were
    # done twice count once.
    assert lab.store.manifest(trial.distill).seconds == 3 + 8


def bytes_of(
    lab: Any, trial: Trial, resources: Resources, told: list[int] | None = None
) -> dict[str, bytes]:
    """Train to the end; the published files by name."""
    for progress in train_student(trial.distill, lab.store, resources):
        if told is not None:
            told.append(progress.done)
    folder: Path = lab.store.folder(trial.distill)
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_teacher_goes_on_too(fresh: Callable[[], Any]) -> None:
    """With the dropout of its architecture on, which draws on where it was."""
    lab = fresh()
    plan = lab.plan("teacher.finetune.epochs=3")
    lab.alone(plan, "dataset")
    step = lab.step(plan, "teacher")
    list(run_step(step, lab.store, 1))
    weights = (lab.store.folder(step) / "model" / "model.safetensors").read_bytes()
    lab = lab.without(step)
    told = []
    training: Any = run_step(step, lab.store, 1, checkpoint_steps=3)
    for progress in training:
        told.append(progress.done)
        if progress.done == 7:
            training.close()
    told += [progress.done for progress in run_step(step, lab.store, 1, checkpoint_steps=3)]
    assert told == [*range(1, 8), *range(7, 13)]
    assert (lab.store.folder(step) / "model" / "model.safetensors").read_bytes() == weights
    assert lab.store.parts(step) == set()
