"""The functional geometry of a scored layer, as `geometry.json` has it.

Shapes: D units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexkd_core import (
    contribution_spectrum,
    spectrum,
    spectrum_dimension,
    spectrum_participation,
)

from .partial_sum import Moments


def geometry_of(moments: Moments, halves: Mapping[int, Moments]) -> dict[str, Any]:
    """Spectra and dimensions of M, and under `contribution` of M against the features' covariance.

    `rows` gradients were summed: with fewer than `units`, the rank of M is limited by the data.
    `effective_dimension_error` is half the difference of the two halves of the data.
    """
    geometry: dict[str, Any] = {
        "units": len(moments.gradients.sum_DD),
        "rows": moments.gradients.rows,
    }
    values_D = _gradient_spectrum(moments)
    if values_D.any():
        geometry |= _dimensions(values_D, [_gradient_spectrum(half) for half in halves.values()])
    geometry["spectrum"] = values_D.tolist()
    values_D = _contribution_spectrum(moments)
    if values_D.any():
        spectra = [_contribution_spectrum(half) for half in halves.values()]
        geometry["contribution"] = _dimensions(values_D, spectra)
    geometry["contribution_spectrum"] = values_D.tolist()
    return geometry


def _dimensions(values_D: NDArray[np.float64], halves: list[NDArray[np.float64]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "participation_ratio": spectrum_participation(values_D),
        "effective_dimension": spectrum_dimension(values_D),
    }
    if len(halves) == 2 and all(half_D.any() for half_D in halves):
        dimensions = [spectrum_dimension(half_D) for half_D in halves]
        found["effective_dimension_halves"] = dimensions
        found["effective_dimension_error"] = abs(dimensions[0] - dimensions[1]) / 2
    return found


def _gradient_spectrum(moments: Moments) -> NDArray[np.float64]:
    return spectrum(moments.gradients.mean())


def _contribution_spectrum(moments: Moments) -> NDArray[np.float64]:
    return contribution_spectrum(moments.gradients.mean(), moments.features.covariance())
