"""Resume an interrupted training from its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..plan import Step
from ..store import Store
from ..tracking import StepMetrics
from .checkpoint import Checkpoints
from .feature_terms import FeatureScale, FeatureTerm
from .worker import Worker


@dataclass
class TrainingState:
    """The state of a training other than its weights and its optimiser.

    log: the metrics of every step so far.
    best, best_weights: metrics and weights of the best epoch, if it is kept.
    """

    log: list[StepMetrics] = field(default_factory=list)
    best: dict[str, float] | None = None
    best_weights: dict[str, Tensor] | None = None


class Resumption:
    """Writes checkpoints of a training and restores the last one.

    since: `time.perf_counter()` at the start of the training; after resuming, less the seconds that
        the steps before the checkpoint took.
    every: optimiser steps between checkpoints; the end of every epoch when None.
    terms: the pairs of layers, whose units may be changed during training.
    scale: of the feature loss; None for a method that does not normalise it.
    """

    def __init__(
        self,
        step: Step,
        store: Store,
        worker: Worker,
        state: TrainingState,
        *,
        since: float,
        seed: int,
        every: int | None,
        terms: Sequence[FeatureTerm] = (),
        scale: FeatureScale | None = None,
    ) -> None:
        self.since = since
        self._checkpoints = Checkpoints(step, store, worker)
        self._worker, self._state, self._seed = worker, state, seed
        self._every, self._terms, self._scale = every, terms, scale
        self._training: tuple[nn.Module, Optimizer] | None = None

    def begin(self, wrapped: nn.Module, optimizer: Optimizer) -> int:
        """Load the newest checkpoint; returns its completed optimiser steps, 0 without one."""
        self._training = (wrapped, optimizer)
        loaded = self._checkpoints.load(wrapped, optimizer)
        if loaded is None:
            return 0
        notes, state = loaded.notes, self._state
        state.log[:] = [StepMetrics(step, values) for step, values in notes["log"]]
        state.best = notes["best"]
        state.best_weights = dict(loaded.more["best"]) if "best" in loaded.more else None
        # Checkpoints of an earlier version have the units alone.
        if (kept := notes.get("terms")) is None:
            kept = [{"units": units} for units in notes["units"]]
        for term, values in zip(self._terms, kept, strict=True):
            term.restore(values)
        if self._scale is not None:
            self._scale.value = notes["feature_scale"]
        self.since -= notes.get("seconds", 0.0)  # checkpoints of an earlier version have none
        self._restore_random(notes, loaded.number)
        return loaded.number

    def reached(self, done: int, total: int, epoch_ends: bool) -> None:
        """Write a checkpoint after `done` steps if one is due; never after the last step."""
        due = epoch_ends if self._every is None else done % self._every == 0
        if not due or done == total:
            return
        assert self._training is not None, "training begins first"
        state = self._state
        notes = {
            "log": [[entry.step, dict(entry.values)] for entry in state.log],
            "best": state.best,
            "terms": [term.state() for term in self._terms],
            "feature_scale": None if self._scale is None else self._scale.value,
            "seconds": time.perf_counter() - self.since,
            "workers": self._worker.size,
            "random": [state.numpy().tobytes().hex() for state in self._random()],
        }
        more = {} if state.best_weights is None else {"best": state.best_weights}
        self._checkpoints.save(done, *self._training, notes, more)

    def drop(self) -> None:
        """Delete the checkpoints of a training whose step is published."""
        self._checkpoints.drop()

    def _random(self) -> list[Tensor]:
        """The generators that dropout draws from."""
        cuda = self._worker.device.type == "cuda"
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if cuda else [])]

    def _restore_random(self, notes: Mapping[str, Any], done: int) -> None:
        """Restore a single worker's random state; reseed several, whose states are not stored."""
        states = [bytes.fromhex(state) for state in notes["random"]]
        if self._worker.size == notes["workers"] == 1 and len(states) == len(self._random()):
            kept = [torch.frombuffer(bytearray(state), dtype=torch.uint8) for state in states]
            torch.set_rng_state(kept[0])
            if len(kept) > 1:
                torch.cuda.set_rng_state(kept[1])
        else:
            drawn = (self._seed * 1_000_003 + done) * 1_000_003 + self._worker.rank
            torch.manual_seed(drawn % 2**63)
