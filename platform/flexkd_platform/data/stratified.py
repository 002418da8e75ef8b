"""Draw splits that have the same share of every class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ..spec import ClassificationTask, MultilabelTask, Problem, Task
from .splits import drawing_order, texts_of


def drawn_by_class(table: pa.Table, key: str, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """The split of every row: of each class, about the share of every split, else `train`.

    Of the n different inputs of a class, ⌊Σ shares · n + ½⌋ are drawn in total, in the order of
    their hashes, so that sizes are off by one input of each class at most. Equal inputs share a
    split; one with several labels counts for the first of them.

    Args:
        table: with the column `label`, integers.
        key: the column that draws.
        shares: split → its share, in (0, 1), summing to less than 1.
        seed: another seed gives another draw.

    Returns:
        One name per row.
    """
    order_N = drawing_order(texts_of(table, key), seed)
    label_N = table["label"].to_numpy()
    _, first_U, unique_N = np.unique(order_N, return_index=True, return_inverse=True)
    names = np.array([*shares, "train"])
    edges = np.cumsum(list(shares.values()))
    part_U = np.empty(len(first_U), dtype=np.int64)
    for label in np.unique(label_N[first_U]):
        # Unique hashes are sorted, so those of a class are in drawing order.
        of_class = np.flatnonzero(label_N[first_U] == label)
        # A share such as 0.45 of 30 must not be rounded down because of its binary form.
        bounds = np.floor(edges * len(of_class) + 0.5 + 1e-9)
        part_U[of_class] = np.searchsorted(bounds, np.arange(len(of_class)), side="right")
    parts: np.ndarray = names[part_U[unique_N]]
    return parts


def stratified_problems(task: Task, path: str, missing: list[str]) -> list[Problem]:
    """Problems of `stratified`, whose section is at `path`; `missing` are the splits to draw."""
    if not isinstance(task, ClassificationTask):
        several = isinstance(task, MultilabelTask)
        message = f"a {task.kind} task has {'no single class per row' if several else 'no classes'}"
    elif not missing:
        message = "no split is drawn: the source has all three"
    else:
        return []
    return [Problem(f"{path}.stratified", message, "leave it out")]
