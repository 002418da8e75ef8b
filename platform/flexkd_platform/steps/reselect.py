"""Per-batch aggregation: units selected anew from the training batch every few steps.

The alternative of the paper's Figure 3b, which it finds unstable; global aggregation is the method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from flexkd_core import ImportanceSum, select_units

from ..spec import FlexKd
from ..tasks import Examples
from .features import FeatureTerm, paired_units
from .importance import score_batch
from .objective import Part
from .tapped import TappedModel
from .worker import Worker


class Reselection:
    """Changes the units of feature terms before every k-th step.

    settings: identity of the importance, and `every`, k.
    examples: as the teacher's own tokenizer reads them; None where it reads the student's batch.
    """

    def __init__(
        self,
        method: FlexKd,
        teacher: Any,
        terms: Sequence[FeatureTerm],
        settings: Mapping[str, Any],
        width: int,
        *,
        examples: Examples | None,
        worker: Worker,
    ) -> None:
        self._method, self._terms, self._settings = method, terms, settings
        self._tapped = TappedModel(teacher).to(worker.device).eval()
        self._width, self._worker, self._examples = width, worker, examples

    def __call__(self, step: int, part: Part) -> None:
        """Select from the global batch: every worker scores its part, and the sums are added."""
        if step % self._settings["every"]:
            return
        batch = part.batch if self._examples is None else self._examples.batch(part.rows)
        for term in self._terms:
            importance, _ = score_batch(
                self._tapped, batch, term.teacher, self._settings, self._worker.device
            )
            mine = ImportanceSum.of(importance)
            share = 1.0 if part.own else 0.0
            row = torch.tensor([[*mine.total_D.tolist(), float(mine.count)]], dtype=torch.float64)
            told = self._worker.gather(
                (row * share).to(self._worker.device), [1] * self._worker.size
            )
            total = told.sum(dim=0).cpu().numpy()
            if total[-1] > 0:
                ranked = select_units(total[:-1] / total[-1], self._width)
                term.units = paired_units(self._method, [int(unit) for unit in ranked])
