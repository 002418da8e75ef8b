"""From a spec to the steps and trials it asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..spec import (
    FilesData,
    FlexKd,
    JobSpec,
    Method,
    RandomInit,
    Score,
    SlicedInit,
    canonical_json,
    spec_with,
)
from .facts import Facts, FactsOf
from .step import Step
from .trial import Trial, flatten, method_identity, method_params, uses_teacher

DEFAULT_OUTPUT = {"classification": "predicted_logit", "regression": "value"}
"""F of the score where the spec names none."""


@dataclass(frozen=True)
class Plan:
    """Every trial of a job, and with them every step: equal steps have equal hashes."""

    spec: JobSpec
    trials: tuple[Trial, ...]
    teachers: tuple[Step, ...]
    cache_numbers: int = 0
    """fp32 numbers that all teacher caches hold: examples × (hidden units + outputs)."""

    @cached_property
    def shared(self) -> tuple[Step, ...]:
        """The steps that trials share, dependencies first: data, teacher, score, cache, select."""
        steps: dict[str, Step] = {}
        for step in self.teachers:
            for needed in (*step.upstream(), step):
                steps.setdefault(needed.hash, needed)
        for trial in self.trials:
            for needed in trial.distill.upstream():
                steps.setdefault(needed.hash, needed)
        return tuple(steps.values())

    def steps(self) -> Iterator[Step]:
        """All steps: the shared ones, then each trial's own."""
        yield from self.shared
        for trial in self.trials:
            yield trial.distill
            yield trial.evaluate


def build_plan(spec: JobSpec, facts_of: FactsOf) -> Plan:
    """Expand methods, axes and seeds; two points that come to the same training are one trial.

    Raises:
        SpecError: an axis makes a spec that is not allowed.
    """
    points = list(_axis_points(spec))
    specs = [(point, spec_with(spec, point) if point else spec) for point in points]
    found: dict[str, list[tuple[Mapping[str, Any], Method, int, Step]]] = {}
    facts: dict[str, tuple[JobSpec, Facts]] = {}
    for method, (point, changed), seed in itertools.product(
        spec.sweep.methods, specs, spec.sweep.seeds
    ):
        known = facts_of(changed)
        step = distill_step(changed, known, method, seed)
        found.setdefault(step.hash, []).append((point, method, seed, step))
        facts.setdefault(step.hash, (changed, known))
    trials = tuple(_trial(same, *facts[key]) for key, same in found.items())
    teachers = {step.hash: step for step in (teacher_step(c, facts_of(c)) for _, c in specs)}
    caches = {
        step.hash: known.train_rows * (known.teacher_hidden + known.outputs)
        for _, changed in specs
        for known in [facts_of(changed)]
        for step in [cache_step(changed, known)]
    }
    plan = Plan(spec, trials, tuple(teachers.values()))
    numbers = sum(caches[step.hash] for step in plan.shared if step.kind == "cache")
    return replace(plan, cache_numbers=numbers)


def _axis_points(spec: JobSpec) -> Iterator[dict[str, Any]]:
    axes = spec.sweep.axes
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _trial(
    same: list[tuple[Mapping[str, Any], Method, int, Step]], spec: JobSpec, facts: Facts
) -> Trial:
    """One trial of the points that came to the same hash; axes that differ do not touch it."""
    point, method, seed, step = same[0]
    touching = {
        path: value
        for path, value in point.items()
        if len(spec.sweep.axes[path]) > 1
        and len({canonical_json(other[path]) for other, *_ in same}) == 1
    }
    evaluate = Step(
        "evaluate",
        {"metrics": list(spec.metrics), "split": spec.evaluate.split, "task": spec.task.kind},
        {"student": step, "dataset": step.needs["dataset"]},
    )
    params = {**method_params(method), **touching}
    return Trial(method.kind, params, trial_settings(step), seed, step, evaluate)


def trial_settings(distill: Step) -> dict[str, Any]:
    """All that decides a trial's result but its seed, from the identities of its steps."""
    settings = flatten(distill.identity)
    settings.pop("seed")
    for needed in distill.upstream():
        settings.update(flatten(needed.identity, needed.kind))
    return settings


def dataset_step(spec: JobSpec, facts: Facts) -> Step:
    """The splits, read from their source once."""
    data = spec.task.data.to_json()
    identity = {k: v for k, v in data.items() if k != "path"}  # the content counts, not its place
    identity.pop("revision", None)  # a branch and its commit are the same data
    identity |= {"task": spec.task.kind, "fingerprint": facts.data_fingerprint}
    if isinstance(spec.task.data, FilesData):
        identity["name"] = "files"
    task = spec.task.to_json()
    if isinstance(spec.task.data, FilesData):
        # A worker has another working directory.
        task["data"]["path"] = str(Path(spec.task.data.path).expanduser().absolute())
    return Step("dataset", identity, run={"task": task})


def teacher_step(spec: JobSpec, facts: Facts) -> Step:
    """The teacher, fitted to the task."""
    finetune = spec.teacher.finetune.to_json() if spec.teacher.finetune else None
    identity = {
        "model": facts.teacher_fingerprint,
        "finetune": finetune,
        **_head(spec, facts),
    }
    return Step(
        "teacher",
        identity,
        {"dataset": dataset_step(spec, facts)},
        run=_teacher_source(spec, facts),
    )


def cache_step(spec: JobSpec, facts: Facts) -> Step:
    """The teacher's hidden states and outputs on every training example."""
    teacher = teacher_step(spec, facts)
    identity = {"layer": facts.teacher_layer, "dtype": "float32", "chunk": spec.score.chunk}
    return Step("cache", identity, {"teacher": teacher, "dataset": teacher.needs["dataset"]})


def score_step(spec: JobSpec, facts: Facts) -> Step:
    """The importance vector G of the teacher's layer."""
    teacher = teacher_step(spec, facts)
    identity = score_identity(spec.score, spec.task.kind, facts)
    return Step("score", identity, {"teacher": teacher, "dataset": teacher.needs["dataset"]})


def score_identity(score: Score, task: str, facts: Facts) -> dict[str, Any]:
    """The settings that the kind of importance reads, and no others."""
    identity: dict[str, Any] = {
        "kind": score.kind,
        "layer": facts.teacher_layer,
        "samples": score.samples if score.samples != "all" else facts.train_rows,
        "aggregation": score.aggregation,
        "chunk": score.chunk,
    }
    if score.kind in {"gradient", "integrated_gradients"}:
        identity["output"] = score.output or DEFAULT_OUTPUT[task]
    if score.kind == "integrated_gradients":
        identity["steps"] = score.steps
    if score.kind == "random":
        identity["seed"] = score.seed
    return identity


def select_step(spec: JobSpec, facts: Facts) -> Step:
    """The d_S units of largest importance, in rank order."""
    return Step("select", {"count": facts.student_hidden}, {"score": score_step(spec, facts)})


def distill_step(spec: JobSpec, facts: Facts, method: Method, seed: int) -> Step:
    """One student's training. It needs the teacher only where its loss reads it."""
    distill = spec.distill.to_json()
    needs = {"dataset": dataset_step(spec, facts)}
    cache = distill.pop("teacher_cache")
    if uses_teacher(method):
        distill["teacher_cache"] = cache
        if cache == "off":
            needs["teacher"] = teacher_step(spec, facts)
            distill["teacher_layer"] = facts.teacher_layer
        else:
            needs["cache"] = cache_step(spec, facts)
        if isinstance(method, FlexKd) and method.alpha > 0:
            needs["select"] = select_step(spec, facts)
    identity = {
        "method": method_identity(method),
        "student": _student_identity(spec, facts),
        "distill": distill,
        "seed": seed,
        **_head(spec, facts),
    }
    init = spec.student.init.to_json()
    if facts.student_source:
        init |= {"model": facts.student_source, "revision": None}
    run = {"student": {"init": init}, **_teacher_source(spec, facts)}
    return Step("distill", identity, needs, run)


def _teacher_source(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    if facts.teacher_source:
        return {"model": facts.teacher_source, "revision": None}
    return {"model": spec.teacher.model, "revision": spec.teacher.revision}


def _student_identity(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    """Initial weights by content: a sliced or random student is made from the teacher's model."""
    init = spec.student.init
    identity = {k: v for k, v in init.to_json().items() if k not in {"model", "revision"}}
    made = isinstance(init, SlicedInit | RandomInit)
    identity["from"] = facts.teacher_fingerprint if made else facts.student_fingerprint
    return {"init": identity}


def _head(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    return {
        "task": spec.task.kind,
        "outputs": facts.outputs,
        "max_length": spec.task.max_length,
    }
