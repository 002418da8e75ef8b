"""The teacher's results on the examples of one chunk, in order, independent of their batching.

Shapes: E examples of the chunk, B of one forward, N rows compared, D units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexkd_core import Importance, ImportanceSum

from ..plan import OUTPUTS, LayerRef, Reading, ResponseReading, ScoreConfig, Step, stack_of
from ..tasks import Examples
from ..training.hidden_states import HEAD_INPUT, LOGITS
from .partial_sum import Moments, PartialSum


class ScoredChunk:
    """Collects the results of forward passes, a few examples at a time.

    scores: the scores of the pass.
    layers: the layers whose hidden states are kept in addition to the outputs.
    """

    def __init__(
        self,
        examples: Examples,
        reading: Reading,
        scores: Sequence[Step[ScoreConfig]],
        layers: Sequence[LayerRef],
    ) -> None:
        everyone = range(len(examples))
        self._scores = {score.hash: _Scores(len(examples)) for score in scores}
        outputs = _Rows([examples.target_rows(row) for row in everyone])
        self._rows: dict[LayerRef, _Rows] = {OUTPUTS: outputs}
        text = isinstance(reading, ResponseReading)
        self._names: dict[LayerRef, str] = {OUTPUTS: HEAD_INPUT if text else LOGITS}
        for layer in layers:
            counts = [examples.feature_rows(row, stack_of(layer)) for row in everyone]
            self._rows[layer], self._names[layer] = _Rows(counts), str(layer)

    def put(
        self, examples: Sequence[int], importances: Sequence[Importance], found: Mapping[str, Any]
    ) -> None:
        """Add the importances, one for each score, and the outputs of some examples."""
        for scores, importance in zip(self._scores.values(), importances, strict=True):
            scores.put(examples, importance)
        for holds, rows in self._rows.items():
            rows.put(examples, found[self._names[holds]])

    def problem(self, table: pa.Table, rows: Sequence[int]) -> str:
        """The problem of the chunk, with its first bad example; "" if there is none.

        rows: the numbers of the examples in the training split.
        """
        outputs_E = _all([rows.finite_E() for rows in self._rows.values()])
        finite_E = _all([outputs_E, *(scores.finite_E() for scores in self._scores.values())])
        bad = np.flatnonzero(~finite_E)
        if not len(bad):
            return ""
        place = int(bad[0])
        what = "gradients" if outputs_E[place] else "outputs or hidden states"
        text = table["text" if "text" in table.column_names else "prompt"][place].as_py()
        shown = text if len(text) <= 60 else f"{text[:57]}…"
        where = f"training example {rows[place]} ({shown!r})"
        return f"the teacher's {what} are NaN or infinite on {where}"

    def partial(self, score: Step[ScoreConfig]) -> PartialSum:
        """The partial sum of a score."""
        return self._scores[score.hash].partial()

    def rows(self, holds: LayerRef) -> Tensor:
        """The chunk's rows of a cache, example by example."""
        return self._rows[holds].rows_ND


class _Scores:
    """One score's importance of every example, and its moments, in the order of the forwards."""

    def __init__(self, examples: int) -> None:
        self._count = examples
        self._valid_E = np.zeros(examples, dtype=bool)
        self._score_ED = np.empty(0)
        self._moments: Moments | None = None

    def put(self, examples: Sequence[int], importance: Importance) -> None:
        score_BD = importance.score_BD.cpu().numpy()
        if not self._score_ED.size:
            self._score_ED = np.empty((self._count, *score_BD.shape[1:]))
        self._score_ED[examples] = score_BD
        self._valid_E[examples] = importance.valid_B.cpu().numpy()
        if importance.gradients is not None and importance.features is not None:
            added = Moments(importance.gradients, importance.features)
            self._moments = added if self._moments is None else self._moments + added

    def finite_E(self) -> NDArray[np.bool_]:
        return _all(np.isfinite(self._score_ED).T)

    def partial(self) -> PartialSum:
        # numpy adds up rows sequentially, in the order of the examples.
        total_D = self._score_ED[self._valid_E].sum(axis=0)
        return PartialSum(ImportanceSum(total_D, int(self._valid_E.sum())), self._moments)


class _Rows:
    """The rows of all examples in order; forward passes return them in another order.

    counts: the number of rows of each example.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts_E = np.array(counts)
        self._starts_E = np.cumsum(self._counts_E) - self._counts_E
        self.rows_ND = torch.empty(0)

    def put(self, examples: Sequence[int], rows_ND: Tensor) -> None:
        counts_B = self._counts_E[examples]
        shift_B = self._starts_E[examples] - (np.cumsum(counts_B) - counts_B)
        place_N = np.repeat(shift_B, counts_B) + np.arange(counts_B.sum())
        if not self.rows_ND.numel():
            self.rows_ND = torch.empty(int(self._counts_E.sum()), *rows_ND.shape[1:])
        self.rows_ND[torch.from_numpy(place_N)] = rows_ND.float().cpu()

    def finite_E(self) -> NDArray[np.bool_]:
        finite_N = torch.isfinite(self.rows_ND).all(dim=1).numpy()
        finite_E = np.ones(len(self._counts_E), dtype=bool)
        finite_E[np.repeat(np.arange(len(self._counts_E)), self._counts_E)[~finite_N]] = False
        return finite_E


def _all(masks: Sequence[NDArray[np.bool_]] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The elementwise AND of several masks."""
    both: NDArray[np.bool_] = np.logical_and.reduce(masks)
    return both
