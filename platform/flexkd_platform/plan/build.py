"""From a spec to the steps and trials it asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..spec import GenerationTask, JobSpec, Method, canonical_json, spec_with
from .facts import Facts, FactsOf
from .step import Step
from .steps_of import cache_numbers, distill_step, evaluate_step, teacher_step
from .trial import Trial, flatten, method_params


@dataclass(frozen=True)
class Plan:
    """Every trial of a job, and with them every step: equal steps have equal hashes.

    teacher_evaluations: of teachers that write text, which is measured apart from their training.
    cache_numbers: fp32 numbers that the teacher caches hold; of text at most, since responses are
        as long as they are.
    """

    spec: JobSpec
    trials: tuple[Trial, ...]
    teachers: tuple[Step, ...]
    teacher_evaluations: tuple[Step, ...] = ()
    cache_numbers: int = 0

    @cached_property
    def shared(self) -> tuple[Step, ...]:
        """The steps that trials share, dependencies first: data, teacher, score, cache, select."""
        steps: dict[str, Step] = {}
        own = [step for trial in self.trials for step in (trial.distill, trial.evaluate)]
        wanted = [*self.teachers, *self.teacher_evaluations]
        for step in wanted:
            for needed in (*step.upstream(), step):
                steps.setdefault(needed.hash, needed)
        trained = {trial.distill.hash for trial in self.trials}
        for step in own:
            for needed in step.upstream():
                if needed.hash not in trained:
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
    teachers: dict[str, Step] = {}
    evaluations: dict[str, Step] = {}
    known_of: dict[str, Facts] = {}
    for _, changed in specs:
        known = facts_of(changed)
        teacher = teacher_step(changed, known)
        teachers.setdefault(teacher.hash, teacher)
        known_of[teacher.hash] = known
        if isinstance(changed.task, GenerationTask):
            evaluation = evaluate_step(changed, known, teacher)
            evaluations.setdefault(evaluation.hash, evaluation)
    plan = Plan(spec, trials, tuple(teachers.values()), tuple(evaluations.values()))
    return replace(plan, cache_numbers=_cache_numbers(plan, known_of))


def _cache_numbers(plan: Plan, known_of: Mapping[str, Facts]) -> int:
    numbers = 0
    for step in plan.shared:
        if step.kind == "cache":
            teacher = step.needs["teacher"]
            facts = known_of[teacher.hash]
            numbers += cache_numbers(teacher.identity, facts, step.identity["holds"])
    return numbers


def _axis_points(spec: JobSpec) -> Iterator[dict[str, Any]]:
    axes = spec.sweep.axes
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _trial(
    same: list[tuple[Mapping[str, Any], Method, int, Step]], spec: JobSpec, facts: Facts
) -> Trial:
    """One trial of the points that came to the same hash; axes that differ do not touch it."""
    point, method, seed, step = same[0]
    touching: dict[str, Any] = {}
    for path, value in point.items():
        values = spec.sweep.axes[path]
        if len(values) > 1 and len({canonical_json(other[path]) for other, *_ in same}) == 1:
            touching |= _told_apart(path, value, values)
    params = {**method_params(method), **touching}
    evaluate = evaluate_step(spec, facts, step)
    return Trial(method.kind, params, trial_settings(step), seed, step, evaluate)


def _told_apart(path: str, value: Any, values: Sequence[Any]) -> dict[str, Any]:
    """What tells one value of an axis from the others: of a section, the keys that differ."""
    if not isinstance(value, Mapping):
        return {path: value}
    others = [flatten(other) for other in values if isinstance(other, Mapping)]
    return {
        f"{path}.{key}": inner
        for key, inner in flatten(value).items()
        if any(other.get(key) != inner for other in others)
    }


def trial_settings(distill: Step) -> dict[str, Any]:
    """All that decides a trial's result but its seed, from the identities of its steps.

    Where several steps of a kind differ in a setting, as the caches of two layers do, its value is
    the list of theirs.
    """
    settings = flatten(distill.identity)
    settings.pop("seed")
    found: dict[str, list[Any]] = {}
    for needed in distill.upstream():
        named = dict(needed.identity)
        if needed.kind == "warm_up":
            named.pop("seed")  # the trial's own
        for path, value in flatten(named, needed.kind).items():
            values = found.setdefault(path, [])
            values += [value] if value not in values else []
    return settings | {p: values[0] if len(values) == 1 else values for p, values in found.items()}
