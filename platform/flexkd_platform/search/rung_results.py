"""How good this job's trials were by the steps at which a scheduler compares them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..executors import Halving, Scores, scores_of
from ..plan import Trial
from ..results.job_folder import JobFolder
from ..steps import read_log
from ..store import Store
from ..training import Progress


class Compared:
    """The scores of trials: of those that train, of those that were there, of pruned ones too.

    A scheduler that knew only of those that finished would ask too much of the others, and one
    that knew of none would let the first of every round go on.
    """

    def __init__(self, halving: Halving | None, folder: JobFolder, store: Store) -> None:
        self._halving, self._store = halving, store
        self._scores: dict[str, list[tuple[int, float]]] = {}
        self._read: set[str] = set()
        # A pruned trial leaves no log: the ledger has its scores.
        for event in folder.ledger() if halving else ():
            if event["event"] == "trial" and event.get("scores"):
                self._scores[event["hash"]] = [(step, score) for step, score in event["scores"]]

    def heard(self, trial: Trial, progress: Sequence[Progress]) -> None:
        """Steps of its training."""
        if self._halving is not None:
            self._scores.setdefault(trial.hash, []).extend(scores_of(progress, self._halving))

    def of(self, trials: Iterable[Trial]) -> Scores:
        """The scores of these trials, as far as they have any."""
        return {trial.hash: found for trial in trials if (found := self._of(trial))}

    def _of(self, trial: Trial) -> list[tuple[int, float]]:
        if self._halving is None:
            return []
        # A training that went on from a checkpoint was heard from there; its log has all of it.
        if trial.hash not in self._read and self._store.has(trial.distill):
            self._read.add(trial.hash)
            log = read_log(trial.distill, self._store)
            told = [Progress(entry.step, log[-1].step, 0, entry) for entry in log]
            self._scores[trial.hash] = scores_of(told, self._halving)
        return self._scores.get(trial.hash, [])
