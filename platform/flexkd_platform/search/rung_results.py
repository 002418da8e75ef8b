"""Rung results: the scores of a job's trials at the steps where early stopping compares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..artifacts import read_log
from ..executors import Halving, RungScores, scores_of
from ..plan import Trial
from ..store import Store
from ..tracking import Progress


class RungResults:
    """The scores of running, reused and pruned trials by rung.

    If trials were compared only with finished ones, they would be stopped too early; if compared
    with none, the first ones of every round would never be stopped.

    ledger: the events of earlier attempts at the job.
    """

    def __init__(
        self, halving: Halving | None, ledger: Iterable[Mapping[str, Any]], store: Store
    ) -> None:
        self._halving, self._store = halving, store
        self._scores: dict[str, list[tuple[int, float]]] = {}
        self._read: set[str] = set()
        # A pruned trial leaves no log: the ledger has its scores.
        for event in ledger if halving else ():
            if event["event"] == "trial" and event.get("scores"):
                self._scores[event["hash"]] = [(step, score) for step, score in event["scores"]]

    def add(self, trial: Trial, progress: Sequence[Progress]) -> None:
        """Add progress of a running trial."""
        if self._halving is not None:
            self._scores.setdefault(trial.hash, []).extend(scores_of(progress, self._halving))

    def of(self, trials: Iterable[Trial]) -> RungScores:
        """The scores of the given trials; trials without scores are left out."""
        return {trial.hash: found for trial in trials if (found := self._of(trial))}

    def _of(self, trial: Trial) -> list[tuple[int, float]]:
        if self._halving is None:
            return []
        # A resumed training reported only the steps after its checkpoint; its log has all of them.
        if trial.hash not in self._read and self._store.has(trial.distill):
            self._read.add(trial.hash)
            log = read_log(trial.distill, self._store)
            steps = [Progress(entry.step, log[-1].step, 0, entry) for entry in log]
            self._scores[trial.hash] = scores_of(steps, self._halving)
        return self._scores.get(trial.hash, [])
