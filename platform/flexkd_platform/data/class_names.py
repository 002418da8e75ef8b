"""Names of numbered classes, as a `ClassLabel` of `datasets` has them.

The same number may be another class in another file, so numbers are compared by their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import Problem
from .columns import listed
from .reading import Examples

Key = TypeVar("Key")

_METADATA = b"huggingface"


def stored_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names of a column's classes that `datasets` keeps in the schema of Arrow and Parquet."""
    try:
        info = json.loads((schema.metadata or {}).get(_METADATA, b"{}"))
        feature = info["info"]["features"][column]
        feature = feature.get("feature", feature)  # of the entries of a list
        names = feature["names"] if feature["_type"] == "ClassLabel" else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def alike(
    found: Mapping[Key, Examples], path: str
) -> tuple[dict[Key, Examples], bool, list[Problem]]:
    """Examples whose labels mean the same in all of them.

    Numbers stay if all names of them are the same. If not, or if other labels are words, the names
    take the place of the numbers.

    Args:
        found: of one data set; their labels are not missing.
        path: of the label in the spec.

    Returns:
        The examples; whether labels were replaced by names; the problems of numbers without a name
        beside other names.
    """
    labelled = {key: examples for key, examples in found.items() if len(examples.table)}
    names = {examples.class_names for examples in labelled.values() if examples.class_names}
    words = any(_holds_words(examples) for examples in labelled.values())
    if len(names) + words < 2:
        return dict(found), False, []
    problems = [
        problem
        for examples in labelled.values()
        if not _holds_words(examples) and (problem := _unnamed(examples, path)) is not None
    ]
    if problems:
        return dict(found), False, problems
    return {key: in_words(examples) for key, examples in found.items()}, True, []


def in_words(examples: Examples) -> Examples:
    """Names in place of class numbers, where the source names them; a number without one stays."""
    if not examples.class_names or _holds_words(examples):
        return replace(examples, class_names=())
    label = examples.table["label"].combine_chunks()
    place, named_N = _places(examples)
    words = pc.if_else(
        pa.array(named_N), pa.array(examples.class_names).take(place), label.cast(pa.string())
    )
    return _with_labels(examples, words, ())


def renumbered(examples: Examples, names: tuple[str, ...]) -> Examples:
    """Class numbers by `names`, where the source names them in another way.

    A class that is not among `names` becomes its name, which is no number and thus refused.
    """
    if not names or examples.class_names in ((), names):
        return examples
    word = in_words(examples).table["label"].combine_chunks()
    number = pc.index_in(word, pa.array(names))
    known = number.cast(pa.string())
    return _with_labels(examples, pc.if_else(pc.is_valid(number), known, word), names)


def _places(examples: Examples) -> tuple[pa.Array, np.ndarray]:
    """The number of each row's class, null if it has no name; and whether it has one."""
    label = examples.table["label"].combine_chunks()
    value_N = label.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    named_N = (value_N >= 0) & (value_N < len(examples.class_names))
    named_N &= np.where(np.isfinite(value_N), value_N, 0.5) % 1 == 0
    place = pa.array(np.where(named_N, value_N, np.nan), from_pandas=True)
    return place.cast(pa.int64()), named_N


def _unnamed(examples: Examples, path: str) -> Problem | None:
    """The problem of numbers that have no name."""
    if not examples.class_names:
        message = f"{examples.origin} numbers its classes, and others have names for theirs"
        return Problem(path, message, "write words as labels, as the others do")
    unnamed_N = ~_places(examples)[1]
    if not unnamed_N.any():
        return None
    label = examples.table["label"][int(np.argmax(unnamed_N))].as_py()
    message = f"{examples.rows(unnamed_N)}: label {label!r} is none of {_shown(examples)}"
    return Problem(path, message, "correct it; missing: skip leaves out rows whose label is -1")


def _shown(examples: Examples) -> str:
    return f"its classes {listed(list(examples.class_names))}"


def _holds_words(examples: Examples) -> bool:
    """Whether any label is a word; an empty one is not."""
    kind = examples.table["label"].type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    label = pc.utf8_trim_whitespace(examples.table["label"].cast(pa.string()))
    number = pc.or_(pc.match_substring_regex(label, NUMBER), pc.equal(label, ""))
    return not pc.all(number.fill_null(True)).as_py()


NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""A label that is a number."""


def _with_labels(examples: Examples, label: pa.Array, names: tuple[str, ...]) -> Examples:
    table = examples.table
    place = table.column_names.index("label")
    return replace(examples, table=table.set_column(place, "label", label), class_names=names)
