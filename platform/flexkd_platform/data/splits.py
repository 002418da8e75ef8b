"""Train, validation and test: draw the missing ones, and subsets of them.

Everything is drawn by a hash of the model's input, never by row: equal inputs share a split, and
the order of a file, the number of readers and the version of a random generator have no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

SPLITS = ("train", "validation", "test")

_HASH_RANGE = 2.0**64

_CHUNK = 1 << 16
"""Rows that are held as Python objects at a time."""


@dataclass(frozen=True)
class Splits:
    """The examples of a task, in the order of their source.

    The tables' columns, all without nulls, are by task:

    - classification and regression: `text` (string), `text_pair` (string; only if the source names
      one) and `label` (int64 classes from 0, or float64 numbers);
    - instruction and summarization: `prompt` (string: the whole input), `response` (string: the
      first correct one) and `references` (list of string: all correct ones).

    Those of a mixture have `origin` too (string: the name of the part).

    skipped: skipped rows of each split of the source, which contain nothing to learn; those of a
        split that others are drawn from are counted there.
    dropped: examples of each split that were left out since another split has them too; empty
        unless the spec drops them.
    fingerprint: of the source's content as read, as in `DataFacts`.
    """

    train: pa.Table
    validation: pa.Table
    test: pa.Table
    skipped: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str = ""


def drawn(texts: Iterable[str | None], shares: Mapping[str, float], seed: int) -> np.ndarray:
    """The split of every text: those of `shares`, each with about its share, else `train`.

    Args:
        texts: one per example; None counts as "".
        shares: split → its share of the examples, in (0, 1), summing to less than 1.
        seed: another seed gives another draw.

    Returns:
        One name per text.
    """
    edges, names = np.cumsum(list(shares.values())), np.array([*shares, "train"])
    place_N = drawing_order(texts, seed) / _HASH_RANGE
    return names[np.searchsorted(edges, place_N, side="right")]


def drawing_order(texts: Iterable[str | None], seed: int) -> np.ndarray:
    """The hash by which `drawn` places every text, uint64; equal texts have the same one."""
    return _hashes(texts, f"split {seed}")


def subset(table: pa.Table, rows: int, split: str, seed: int, key: str = "text") -> pa.Table:
    """`rows` of the table's examples, in their order; `key` is the column that draws them.

    A larger subset with the same seed holds every smaller one.
    """
    hash_N = _hashes(texts_of(table, key), f"subset of {split} {seed}")
    # Stable: of examples with equal texts, the first ones are taken.
    chosen = np.argsort(hash_N, kind="stable")[:rows]
    return table.take(pa.array(np.sort(chosen)))


def texts_of(table: pa.Table, column: str) -> Iterator[str | None]:
    """A column's texts, with few of them as Python objects at a time."""
    for batch in table.select([column]).to_batches(max_chunksize=_CHUNK):
        yield from batch[column].to_pylist()


def training_texts(table: pa.Table) -> Iterator[str]:
    """The texts of a training split that a tokenizer is trained on, column by column."""
    columns = [n for n in ("text", "text_pair", "prompt", "response") if n in table.column_names]
    found = (text for name in columns for text in texts_of(table, name))
    return (text for text in found if text is not None)


def _hashes(texts: Iterable[str | None], purpose: str) -> np.ndarray:
    """64 bits of BLAKE2b of `purpose`, a zero byte and the text, as whole numbers."""
    start = hashlib.blake2b(purpose.encode() + b"\0", digest_size=8)
    digests = bytearray()
    for text in texts:
        state = start.copy()
        state.update((text or "").encode())
        digests += state.digest()
    return np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)
