"""The importance of a few chunks, as partial artifacts hold it.

The chunks of the data are divided into two halves, the even and the odd ones. The sums of each half
show how much a result changes with the data.

Shapes: D units, P entries of a matrix's upper triangle, D (D + 1) / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from flexkd_core import FeatureMoment, GradientMoment, ImportanceSum

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of the gradients and of the features on the same rows."""

    gradients: GradientMoment
    features: FeatureMoment

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gradients + other.gradients, self.features + other.features)


@dataclass(frozen=True, eq=False)
class PartialSum:
    """One score's sums over the examples of a chunk.

    moments: None if the score does not store them.
    """

    importance: ImportanceSum
    moments: Moments | None = None


def pack(partials: Mapping[int, PartialSum]) -> bytes:
    """Serialize the partial sums of a part's chunks, by chunk number, as a partial artifact.

    Importance is kept by chunk: G is the same to the last bit for any division into parts. Moments
    are added up by half, so that the size of a part does not depend on its number of chunks.
    """
    ordered = [partials[chunk] for chunk in sorted(partials)]
    arrays = {
        "chunk": np.array(sorted(partials)),
        "total": np.stack([partial.importance.total_D for partial in ordered]),
        "count": np.array([partial.importance.count for partial in ordered]),
    }
    for half in (0, 1):
        moments = [
            partial.moments
            for chunk, partial in sorted(partials.items())
            if chunk % 2 == half and partial.moments is not None
        ]
        if moments:
            arrays |= _packed(reduce(add, moments), half)
    return bytes(save(arrays))


def unpack(content: bytes) -> tuple[dict[int, ImportanceSum], dict[int, Moments]]:
    """The inverse of `pack`: importance by chunk, and moments by half."""
    arrays = load(content)
    importance = {
        int(chunk): ImportanceSum(total_D, int(count))
        for chunk, total_D, count in zip(
            arrays["chunk"], arrays["total"], arrays["count"], strict=True
        )
    }
    units = arrays["total"].shape[1]
    return importance, {
        half: _unpacked(arrays, half, units) for half in (0, 1) if f"moment.{half}" in arrays
    }


def _packed(moments: Moments, half: int) -> dict[str, NDArray[np.generic]]:
    gradients, features = moments.gradients, moments.features
    return {
        f"moment.{half}": _triangle(gradients.sum_DD),
        f"features.{half}": _triangle(features.scatter_DD),
        f"feature_sum.{half}": features.sum_D,
        f"rows.{half}": np.array([gradients.count, gradients.rows, features.count, features.rows]),
    }


def _unpacked(arrays: Mapping[str, NDArray[np.float64]], half: int, units: int) -> Moments:
    count, rows, feature_count, feature_rows = (int(n) for n in arrays[f"rows.{half}"])
    return Moments(
        GradientMoment(_square(arrays[f"moment.{half}"], units), count, rows),
        FeatureMoment(
            _square(arrays[f"features.{half}"], units),
            arrays[f"feature_sum.{half}"],
            feature_count,
            feature_rows,
        ),
    )


def _triangle(matrix_DD: Array) -> Array:
    return np.concatenate([row_D[place:] for place, row_D in enumerate(matrix_DD)])


def _square(triangle_P: Array, units: int) -> Array:
    matrix_DD = np.empty((units, units))
    start = 0
    for place in range(units):
        row = triangle_P[start : start + units - place]
        matrix_DD[place, place:] = matrix_DD[place:, place] = row
        start += units - place
    return matrix_DD
