"""Expand the points of a sweep to trials, and trials to a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..spec import Choice, JobSpec, ResponseTask, canonical_json, flatten, spec_with
from .facts import Facts, FactsOf
from .kinds.cache import CacheConfig, cache_numbers
from .kinds.distill import DistillConfig, distill_step
from .kinds.evaluate import EvaluateConfig, evaluate_step
from .kinds.teacher import TeacherConfig, teacher_step
from .step import Step, with_config
from .trial import Trial

if TYPE_CHECKING:
    from ..search import Refused, Search


@dataclass(frozen=True)
class Plan:
    """Every trial of a job, and with them every step. Equal steps have equal hashes.

    teacher_evaluations: of teachers that generate text; the teacher step itself generates none.
    extra: steps that no trial reads, such as those of a kind of another package.
    cache_numbers: fp32 numbers of the teacher caches; of text an upper bound, since responses vary
        in length.
    search: chooses further trials as results arrive; None where the plan has every trial.
    refused: points of a search that are excluded because the spec does not allow them.
    """

    spec: JobSpec
    trials: tuple[Trial, ...]
    teachers: tuple[Step[TeacherConfig], ...]
    teacher_evaluations: tuple[Step[EvaluateConfig], ...] = ()
    cache_numbers: int = 0
    search: Search | None = None
    refused: tuple[Refused, ...] = ()
    extra: tuple[Step, ...] = ()

    @cached_property
    def shared(self) -> tuple[Step, ...]:
        """The steps that trials share, dependencies first: data, teacher, score, cache, select."""
        steps: dict[str, Step] = {}
        own: list[Step] = [s for trial in self.trials for s in (trial.distill, trial.evaluate)]
        wanted: list[Step] = [*self.teachers, *self.teacher_evaluations, *self.extra]
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

    @property
    def most_trials(self) -> int:
        """Upper bound of the number of trials; two points may result in the same training."""
        return len(self.trials) if self.search is None else self.search.most_trials


@dataclass(frozen=True)
class _Expanded:
    """A trial of one point. axes: the values that may distinguish it from others."""

    place: int
    axes: Mapping[str, Any]
    seed: int
    step: Step[DistillConfig]
    spec: JobSpec
    facts: Facts


class Planner:
    """Collects the trials of the points of a sweep; equal ones are one trial."""

    def __init__(self, spec: JobSpec, facts_of: FactsOf) -> None:
        self.spec, self.facts_of = spec, facts_of
        self._found: dict[str, list[_Expanded]] = {}
        self._specs: dict[str, tuple[JobSpec, Facts]] = {}

    def add(self, place: int, point: Mapping[str, Any], unread: Mapping[str, Any]) -> list[str]:
        """Add the trials of a method at a point; returns their hashes, in the order of the seeds.

        Args:
            place: the method's index in the spec.
            point: dotted path → value.
            unread: values that the method does not depend on; they are still validated.

        Raises:
            SpecError: the point results in an invalid spec.
        """
        changed, known = self._at({**unread, **point})
        method = changed.sweep.methods[place]
        axes = {path: value for path, value in point.items() if not path.startswith("sweep.")}
        hashes = []
        for seed in self.spec.sweep.seeds:
            step = distill_step(changed, known, method, seed)
            entry = _Expanded(place, axes, seed, step, changed, known)
            self._found.setdefault(step.hash, []).append(entry)
            hashes.append(step.hash)
        return hashes

    def plan(self) -> Plan:
        """The plan of all points so far."""
        trials = tuple(self._trial(same) for same in self._found.values())
        teachers: dict[str, Step[TeacherConfig]] = {}
        evaluations: dict[str, Step[EvaluateConfig]] = {}
        facts: dict[str, Facts] = {}
        for changed, known in self._specs.values():
            teacher = teacher_step(changed, known)
            teachers.setdefault(teacher.hash, teacher)
            facts[teacher.hash] = known
            if isinstance(changed.task, ResponseTask):
                evaluation = evaluate_step(changed, known, teacher)
                evaluations.setdefault(evaluation.hash, evaluation)
        plan = Plan(self.spec, trials, tuple(teachers.values()), tuple(evaluations.values()))
        return replace(plan, cache_numbers=_cache_numbers(plan, facts))

    def _at(self, point: Mapping[str, Any]) -> tuple[JobSpec, Facts]:
        key = canonical_json(dict(point))
        if key not in self._specs:
            changed = spec_with(self.spec, point) if point else self.spec
            self._specs[key] = (changed, self.facts_of(changed))
        return self._specs[key]

    def _trial(self, same: list[_Expanded]) -> Trial:
        """One trial of the points with the same hash; axes that differ do not affect it."""
        first = same[0]
        touching: dict[str, Any] = {}
        for path, value in first.axes.items():
            values = self._values(path)
            found = {canonical_json(other.axes.get(path)) for other in same}
            if len(values) != 1 and len(found) == 1:
                touching |= _distinguishing(path, value, values)
        method = first.spec.sweep.methods[first.place]
        params = {**method.params(), **touching}
        evaluate = evaluate_step(first.spec, first.facts, first.step)
        settings = trial_settings(first.step)
        return Trial(method.kind, params, settings, first.seed, first.step, evaluate)

    def _values(self, path: str) -> Sequence[Any]:
        """The listed values of an axis; none if it is drawn from a range."""
        drawn = self.spec.sweep.space.get(path)
        if drawn is None:
            return self.spec.sweep.axes[path]
        return drawn.choice if isinstance(drawn, Choice) else ()


def _cache_numbers(plan: Plan, known_of: Mapping[str, Facts]) -> int:
    numbers = 0
    for cache in with_config(plan.shared, CacheConfig):
        teacher = cache.config.teacher
        facts = known_of[teacher.hash]
        numbers += cache_numbers(teacher.config.reading, facts, cache.config.holds)
    return numbers


def _distinguishing(path: str, value: Any, values: Sequence[Any]) -> dict[str, Any]:
    """What distinguishes an axis value from the others; for a section, the keys that differ."""
    if not isinstance(value, Mapping):
        return {path: value}
    others = [flatten(other) for other in values if isinstance(other, Mapping)]
    return {
        f"{path}.{key}": inner
        for key, inner in flatten(value).items()
        if any(other.get(key) != inner for other in others)
    }


def trial_settings(distill: Step[DistillConfig]) -> dict[str, Any]:
    """Everything that determines a trial's result except the seed, from its steps' identities.

    If several steps of a kind differ in a setting, such as the caches of two layers, its value is
    the list of their values.
    """
    settings = flatten(distill.config.settings())
    found: dict[str, list[Any]] = {}
    for needed in distill.upstream():
        for path, value in flatten(needed.config.settings(), needed.kind).items():
            values = found.setdefault(path, [])
            values += [value] if value not in values else []
    return settings | {p: values[0] if len(values) == 1 else values for p, values in found.items()}
