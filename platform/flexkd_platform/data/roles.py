"""An Arrow table of any source, with its columns by role."""

from __future__ import annotations

import json

import pyarrow as pa

from ..spec import Problem, SpecError
from .columns import HOLDS, Columns
from .responses import responses_array


def by_role(table: pa.Table, columns: Columns) -> pa.Table:
    """The wanted columns of `table`, named by their role, with responses in one format.

    Texts and labels keep their types; the preparation of examples rejects invalid ones.

    Raises:
        SpecError: the type of the responses is invalid.
    """
    roles = columns.present(table.column_names)
    return pa.table({role: _converted(table[name], role, columns) for role, name in roles.items()})


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold texts."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    # A column of only nulls has its own type; its rows are reported, not the column.
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    return any(test(value) for test in tests)


def _converted(values: pa.ChunkedArray, role: str, columns: Columns) -> pa.ChunkedArray:
    if HOLDS[role] == "responses":
        return _responses(values, role, columns)
    return _json(values) if HOLDS[role] == "json" else values


def _json(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value as JSON, whatever its type; null stays null."""

    def text_of(value: object) -> str | None:
        return None if value is None else json.dumps(value, default=str)

    chunks = [pa.array(map(text_of, chunk.to_pylist()), pa.string()) for chunk in values.chunks]
    return pa.chunked_array(chunks, pa.string())


def _responses(values: pa.ChunkedArray, role: str, columns: Columns) -> pa.ChunkedArray:
    try:
        # By chunks, so that few rows are Python objects at a time.
        chunks = [
            responses_array(chunk.to_pylist(), nested=role == "output") for chunk in values.chunks
        ]
    except ValueError:
        message = f"the responses of {columns.origin} are of type {values.type}"
        remedy = "name a column of texts, or of lists of texts"
        raise SpecError([Problem(f"{columns.path}.{role}", message, remedy)]) from None
    return pa.chunked_array(chunks or [responses_array([], nested=False)])
