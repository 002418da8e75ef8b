"""Optuna search with ask and tell, in rounds of a fixed size.

The same spec and the same results give the same points, independent of the hardware and of the
order in which trials end: all results of a round are reported before the next one is asked for.
Only the results are stored, so an interrupted search repeats all rounds from the first one, whose
trials are reused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import optuna

from ..plan.planner import Plan, Planner
from ..spec import Choice, Distribution, IntUniform, LogUniform, SpecError, Uniform, readable
from .refused import Refused
from .space import Point, Search, grid_points, unread

Verdict = float | Literal["failed", "pruned"]
"""The outcome of a point: its score (higher is better), or why it has none."""


@dataclass(frozen=True)
class Asked:
    """A point that Optuna suggested. place: index of its method. trials: hashes, one per seed."""

    place: int
    number: int
    point: Point
    trials: tuple[str, ...]


class Rounds:
    """The rounds of one search, starting with the first."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._planner = Planner(search.spec, search.facts_of)
        for place in range(len(search.spec.sweep.methods)):
            if place not in search.spaces:
                for point in grid_points(search.spec):
                    self._planner.add(place, point, unread(search.spec, point))
        self._fixed = len(self._planner.plan().trials)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._studies = {
            place: optuna.create_study(
                direction="maximize",
                sampler=optuna.samplers.TPESampler(seed=search.settings.seed),
            )
            for place in search.spaces
        }
        self.asked: list[Asked] = []
        self.refused: list[Refused] = []

    def ask(self) -> tuple[Asked, ...]:
        """The next round: up to `batch` points of every searched method; () after the last one.

        If all points of a method are rejected, more are sampled until one is valid, so that only
        the end of the search gives an empty round.
        """
        before = len(self.asked)
        samples, batch = self._search.settings.samples, self._search.settings.batch
        for place, study in self._studies.items():
            taken, first = 0, len(self.asked)
            while len(study.trials) < samples and (taken < batch or len(self.asked) == first):
                self._ask(place, study)
                taken += 1
        return tuple(self.asked[before:])

    def _ask(self, place: int, study: optuna.Study) -> None:
        """Sample one more point of a method; an invalid one counts as a failed sample."""
        trial, spec = study.ask(), self._search.spec
        space = self._search.spaces[place]
        point = {path: _suggested(trial, path, drawn) for path, drawn in space.items()}
        try:
            hashes = tuple(self._planner.add(place, point, unread(spec, space)))
        except SpecError as error:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            method = spec.sweep.methods[place].kind
            self.refused.append(Refused(method, place, point, error.problems))
        else:
            self.asked.append(Asked(place, trial.number, point, hashes))

    def tell(self, verdicts: Iterable[tuple[Asked, Verdict]]) -> None:
        """Report the results of a round, in the order in which the points were asked for."""
        for asked, verdict in verdicts:
            study = self._studies[asked.place]
            if verdict == "failed":
                study.tell(asked.number, state=optuna.trial.TrialState.FAIL)
            elif verdict == "pruned":
                study.tell(asked.number, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(asked.number, verdict)

    def plan(self) -> Plan:
        """The plan of the fixed trials and of all points so far."""
        search = replace(self._search, fixed=self._fixed)
        return replace(self._planner.plan(), search=search, refused=tuple(self.refused))


def _suggested(trial: optuna.Trial, path: str, drawn: Distribution) -> Any:
    if isinstance(drawn, Choice):
        # By its index: an Optuna category is text or a number, but a value may be a spec section.
        return drawn.choice[trial.suggest_categorical(path, range(len(drawn.choice)))]
    if isinstance(drawn, IntUniform):
        return trial.suggest_int(path, *drawn.int_uniform)
    if isinstance(drawn, LogUniform):
        return readable(trial.suggest_float(path, *drawn.edges, log=True), drawn.log_uniform)
    assert isinstance(drawn, Uniform)
    return readable(trial.suggest_float(path, *drawn.edges), drawn.uniform)
