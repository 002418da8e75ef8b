"""Per-batch aggregation: units selected again from the training batch every few steps.

This is the alternative in the paper's Figure 3b, which finds it unstable; the paper's method is
global aggregation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flexkd_core import ImportanceSum, select_units

from ..plan import ReselectConfig
from ..spec import UnitSelection
from ..tasks import Examples
from .feature_terms import FeatureTerm, paired_units
from .hidden_states import HiddenStateModel
from .importance import score_batch
from .micro_batch import MicroBatch
from .worker import Worker


class Reselection:
    """Changes the units of feature terms before every k-th step.

    selection: how the selected units are paired with the student's, and their weights.
    settings: the importance, and k.
    examples: encoded by the teacher's own tokenizer; None if it reads the student's batch.
    """

    def __init__(
        self,
        selection: UnitSelection,
        teacher: Any,
        terms: Sequence[FeatureTerm],
        settings: ReselectConfig,
        width: int,
        *,
        examples: Examples | None,
        worker: Worker,
    ) -> None:
        self._selection, self._terms, self._settings = selection, terms, settings
        self._tapped = HiddenStateModel(teacher).eval()
        self._width, self._worker, self._examples = width, worker, examples

    def __call__(self, step: int, shares: Sequence[MicroBatch]) -> None:
        """Select from the global batch: every worker scores its shard, and the sums are added."""
        if step % self._settings.every:
            return
        for term in self._terms:
            row = sum(self._scored(term, share) for share in shares)
            assert isinstance(row, Tensor)
            rows = self._worker.gather(row[None].to(self._worker.device), [1] * self._worker.size)
            total = rows.sum(dim=0).cpu().numpy()
            if total[-1] > 0:
                importance_D = total[:-1] / total[-1]
                ranked = select_units(importance_D, self._width)
                term.units = paired_units(self._selection.pairing, [int(unit) for unit in ranked])
                if self._selection.weights == "importance":
                    term.weights = torch.from_numpy(importance_D)

    def _scored(self, term: FeatureTerm, share: MicroBatch) -> Tensor:
        """Sum and count of the importance on a micro-batch, fp64 (D + 1,)."""
        batch = share.batch if self._examples is None else self._examples.batch(share.rows)
        importance, _ = score_batch(
            self._tapped, batch, term.teacher, self._settings.importance, self._worker.device
        )
        mine = ImportanceSum.of(importance)
        row = torch.tensor([*mine.total_D.tolist(), float(mine.count)], dtype=torch.float64)
        return row * (1.0 if share.own else 0.0)
