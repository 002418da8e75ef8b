"""A teacher that is asked at every step says what its cache holds, whatever is learned from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flexkd_platform.artifacts import read_log
from flexkd_platform.models import device_map as spreading
from flexkd_platform.spec import Resources

from ..lab import train_student

METHODS = (
    "{kind: kd}",
    "{kind: minillm, lambda: 0.1}",
    "{kind: jsd, top_k: 3}",
    "{kind: skew_fkl}",
    "{kind: skew_rkl}",
    "{kind: tvd, temperature: 2}",
    "{kind: projector, beta: 1}",
    "{kind: cka, layers: every}",
    "{kind: flexkd, beta: 1}",
    "{kind: flexkd, target: directions, lambda: 0}",
    "{kind: procrustes, beta: 1, logit: {kind: reverse_kl}}",
    "{kind: gram}",
)

WORLDS = [("bert", "classification"), ("gpt2", "instruction"), ("bart", "summarization")]


@pytest.mark.parametrize(("architecture", "task"), WORLDS)
def test_every_term_of_every_step_is_that_of_the_cache(
    world: Callable[..., Any], architecture: str, task: str
) -> None:
    lab = world(architecture, task)
    sweep = f"sweep.methods=[{', '.join(METHODS)}]"
    # Two epochs of batches of 5, 5 and 2.
    recipe = ("distill.batch_size=5", "distill.epochs=2")
    kept, asked = lab.plan(sweep, *recipe), lab.plan(sweep, *recipe, "distill.teacher_cache=off")
    lab.share(kept)
    lab.share(asked)
    for one, other in zip(kept.trials, asked.trials, strict=True):
        roles = {role.partition(" ")[0] for role in one.distill.needs}
        assert "cache" in roles
        assert not [role for role in other.distill.needs if role.startswith("cache")]
        assert "teacher" in other.distill.needs
        for trial in (one, other):
            list(train_student(trial.distill, lab.store))
        logs = [read_log(trial.distill, lab.store) for trial in (one, other)]
        assert len(logs[0]) == len(logs[1]) == 6
        for entry, expected in zip(*logs, strict=True):
            assert set(entry.values) == set(expected.values)
            for name, value in entry.values.items():
                if name.startswith("train/"):
                    assert value == pytest.approx(expected.values[name], rel=1e-3, abs=1e-5), (
                        one.params,
                        entry.step,
                        name,
                    )


@pytest.mark.parametrize("placement", ["whole", "device_map", "sharded"])
def test_a_teacher_that_nobody_shares_is_spread_over_the_devices_of_the_only_worker(
    fresh: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, placement: Any
) -> None:
    """As in every other step that asks it: on one device alone it does not fit."""
    asked: list[Any] = []
    monkeypatch.setattr(spreading, "spread", lambda model: asked.append(model) or model)
    lab = fresh()
    trial = lab.trial("{kind: kd}", "distill.teacher_cache=off")
    resources = Resources(teacher_placement=placement)
    next(train_student(trial.distill, lab.store, resources))
    assert len(asked) == (placement != "whole")
