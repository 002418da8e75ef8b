"""The mark of an example without a label.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NO_CLASS = -100
"""The class of an example without one; a number is NaN, as are all values of a row that may have
several classes. None of them is allowed in data."""


def without_label(labels_N: NDArray[Any]) -> NDArray[Any]:
    """Labels of the same dtype, of which none is known."""
    mark = NO_CLASS if np.issubdtype(labels_N.dtype, np.integer) else np.nan
    return np.full_like(labels_N, mark)


def has_label(labels_N: Tensor) -> Tensor:
    """bool (N,): which labels are known, of (N,), or (N, C) for any number of classes."""
    if not labels_N.is_floating_point():
        return labels_N != NO_CLASS
    unknown = labels_N.isnan()
    return ~(unknown.any(dim=1) if labels_N.ndim == 2 else unknown)
