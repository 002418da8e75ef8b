"""The unit in which models of a regression task see labels: standard deviations from the mean.

A model is trained on z = (y − mean) / std and outputs z, so that a loss, a learning rate and a
weight mean the same for labels of any scale. Metrics and predictions are in the unit of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelUnit:
    """Mean and population standard deviation of the labels that a model is trained on, fp64."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, labels_N: NDArray[Any]) -> LabelUnit:
        """The unit of some labels; NaN marks rows without one. A constant has the deviation 1."""
        known_N = labels_N[~np.isnan(labels_N)].astype(np.float64)
        return cls(float(known_N.mean()), float(known_N.std()) or 1.0)

    @classmethod
    def of_table(cls, table: pa.Table) -> LabelUnit:
        """The unit of the rows of a split."""
        return cls.of(table["label"].to_numpy())

    def standardised(self, labels_N: NDArray[Any]) -> NDArray[np.float64]:
        """z = (y − mean) / std."""
        result: NDArray[np.float64] = (labels_N.astype(np.float64) - self.mean) / self.std
        return result

    def restored(self, standardised: NDArray[Any]) -> NDArray[np.float64]:
        """y = z · std + mean."""
        result: NDArray[np.float64] = standardised.astype(np.float64) * self.std + self.mean
        return result

    def conversion(self, other: LabelUnit) -> tuple[float, float]:
        """Factor and shift from values of this unit to those of another."""
        return self.std / other.std, (self.mean - other.mean) / other.std
