"""The classes of multi-label examples, as the dataset step stores them: ascending class indices.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def is_label_list(kind: pa.DataType) -> bool:
    """Whether a column of labels holds lists of classes."""
    return bool(pa.types.is_list(kind))


def multi_hot(column: pa.ChunkedArray, classes: int) -> NDArray[np.float64]:
    """(N, C): 1 for a class that the row has, else 0; NaN in a row without a list."""
    lists = column.to_pylist()
    hot_NC = np.zeros((len(lists), classes))
    for row, places in enumerate(lists):
        if places is None:
            hot_NC[row] = np.nan
        else:
            hot_NC[row, places] = 1
    return hot_NC


def without_lists(column: pa.ChunkedArray, kept: set[int]) -> pa.Array:
    """The column with null in all rows but `kept`."""
    lists = [one if row in kept else None for row, one in enumerate(column.to_pylist())]
    return pa.array(lists, column.type)
