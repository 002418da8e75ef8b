"""Pair student units with selected teacher units by their features on a sample of the data.

Shapes: N rows of the sample, S student units, T teacher units, C candidates: teacher units or
directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexkd_core import drawn_rows, matched_directions, matched_units, origin_units

from ..plan import LayerRef
from ..spec import UnitSelection
from ..tasks import Examples
from .before_training import sample_features
from .feature_terms import FeatureTerm
from .hidden_states import HiddenStateModel
from .micro_batch import MicroBatch
from .teacher_signal import TeacherSignal
from .worker import Worker

SAMPLE = 512
"""Training examples on which features are correlated."""

BATCH = 32
"""Examples in one forward of the sample."""


class SamplePairing:
    """Changes the units of feature terms: before the training, and every `rematch` steps.

    The assignment has the largest sum of correlations between paired units. With pairing `origin`,
    a student unit that was cut from one of the selected teacher units is paired with it, and only
    the others are assigned. Directions are assigned by absolute correlation, and their signs
    follow.

    Every worker computes the features of the whole sample. The first worker's pairing holds:
    results may differ in their last bits.

    origins: by teacher layer, the teacher unit that each student unit was cut from.
    rows: the examples that the student is trained on, from which the sample is drawn.
    seed: of the draw.
    """

    def __init__(
        self,
        selection: UnitSelection,
        module: HiddenStateModel,
        data: Examples,
        signal: TeacherSignal,
        terms: Sequence[FeatureTerm],
        worker: Worker,
        *,
        rows: Sequence[int],
        seed: int,
        origins: Mapping[LayerRef, Sequence[int]],
    ) -> None:
        self._selection, self._module, self._data, self._signal = selection, module, data, signal
        self._terms, self._worker, self._origins = terms, worker, origins
        places = drawn_rows(len(rows), min(SAMPLE, len(rows)), seed)
        self._rows = [rows[place] for place in places]

    def __call__(self, step: int, shares: Sequence[MicroBatch]) -> None:
        """Pair again before every `rematch`-th step."""
        every = self._selection.rematch
        if every is not None and step and step % every == 0:
            self.pair()
            self._worker.settle(self._module)

    def pair(self) -> None:
        """Pair the units of every term."""
        features = sample_features(
            self._module,
            self._data,
            self._signal,
            self._terms,
            self._rows,
            self._worker.device,
            batch_size=BATCH,
        )
        for term, (student_NS, teacher_NT) in zip(self._terms, features, strict=True):
            self._pair(term, student_NS, term.candidates(teacher_NT))

    def _pair(self, term: FeatureTerm, student_NS: Tensor, candidates_NC: Tensor) -> None:
        student, candidates = _float64(student_NS), _float64(candidates_NC)
        if self._selection.directions:
            order, signs = matched_directions(student, candidates)
            term.units = self._agreed(torch.tensor(order))
            term.signs_S = self._agreed(torch.tensor(signs))
            return
        assert term.units is not None, "units are selected before they are paired"
        selected = term.units.tolist()
        fixed = origin_units(self._origins.get(term.teacher, ()), selected)
        paired = matched_units(student, candidates, selected, fixed=fixed)
        term.units = self._agreed(torch.tensor(paired))

    def _agreed(self, values_S: Tensor) -> Tensor:
        """The first worker's values."""
        worker = self._worker
        own = values_S[None] if worker.rank == 0 else values_S[None][:0]
        gathered = worker.gather(own.to(worker.device), [1] + [0] * (worker.size - 1))
        return gathered[0].cpu()


def _float64(features: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = features.double().cpu().numpy()
    return array
