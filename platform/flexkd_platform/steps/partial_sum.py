"""The importance of a few examples, as partial artifacts hold it.

Shapes: N examples, K gradients per example, D units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save


@dataclass(frozen=True, eq=False)
class PartialSum:
    """One score's result of a chunk: the sum over its counted examples, and their gradients.

    gradients_NKD: of the counted examples, if the score keeps the second moment.
    """

    total_D: NDArray[np.float64]
    count: int
    gradients_NKD: NDArray[np.float64] | None


def pack(partials: Sequence[PartialSum]) -> bytes:
    """Serialize the partial sums of a few chunks as a partial artifact."""
    arrays = {
        "total": np.stack([partial.total_D for partial in partials]),
        "count": np.array([partial.count for partial in partials]),
    }
    gradients = [p.gradients_NKD for p in partials if p.gradients_NKD is not None and p.count]
    if gradients:
        arrays["gradients"] = np.concatenate(gradients)
    return bytes(save(arrays))


def unpack(content: bytes) -> Iterator[PartialSum]:
    """The inverse of `pack`; a chunk whose examples have no gradients has None."""
    arrays = load(content)
    counts = [int(count) for count in arrays["count"]]
    start = 0
    for total_D, count in zip(arrays["total"].reshape(len(counts), -1), counts, strict=True):
        gradients = arrays["gradients"][start : start + count] if "gradients" in arrays else None
        yield PartialSum(total_D, count, gradients if count else None)
        start += count
