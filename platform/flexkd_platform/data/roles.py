"""An Arrow table of any source, with its columns by role."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from ..spec import Problem, SpecError
from .columns import Columns, holds
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
    if holds(role) == "responses":
        return _responses(values, role, columns)
    return _json(values) if holds(role) == "json" else values


def _json(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each value as JSON, whatever its type; null stays null."""

    def text_of(value: object) -> str | None:
        return None if value is None else json.dumps(value, default=str)

    chunks = [pa.array(map(text_of, chunk.to_pylist()), pa.string()) for chunk in values.chunks]
    return pa.chunked_array(chunks, pa.string())


def withheld(label: pa.ChunkedArray) -> bool:
    """Whether all labels are -1, which is GLUE's way of keeping them back."""
    kind = label.type
    if len(label) == 0 or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return False
    return bool(np.all(label.to_numpy() == -1))


def joined_tables(parts: list[tuple[pa.Table, str]], path: str) -> pa.Table:
    """Tables of one split by role, one behind the other. Labels of different types become words.

    Args:
        parts: each table with the name of its file.
        path: of the data section in the spec.

    Raises:
        SpecError: some parts have other columns, or texts of another type.
    """
    # A file of JSON Lines without lines has the columns of any form.
    parts = [part for part in parts if len(part[0])] or parts[:1]
    (first, first_origin), *others = parts
    for table, origin in others:
        roles = [set(one.column_names) - {"input"} for one in (first, table)]
        if roles[0] != roles[1]:
            has = " and ".join(name for name in first.column_names if name in roles[0])
            other = " and ".join(name for name in table.column_names if name in roles[1])
            message = f"{first_origin} has {has}, {origin} has {other}"
            raise SpecError([Problem(f"{path}.path", message, "write the same columns in all")])
        for role in first.column_names:
            if role not in table.column_names or holds(role) != "text":
                continue
            kinds = first[role].type, table[role].type
            if is_text(kinds[0]) != is_text(kinds[1]):
                message = f"{first_origin} has {role} of type {kinds[0]}, {origin} of {kinds[1]}"
                raise SpecError([Problem(f"{path}.{role}", message, "write one type")])
    return pa.concat_tables(
        [_alike(table, [one for one, _ in parts]) for table, _ in parts],
        promote_options="permissive",
    )


def _alike(table: pa.Table, others: list[pa.Table]) -> pa.Table:
    """`table` with texts as strings, and with labels as words if those of others differ."""
    columns = {}
    for role in table.column_names:
        column = table[role]
        kinds = {other[role].type for other in others if role in other.column_names}
        mixed = len(kinds) > 1 and not all(
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
            for kind in kinds
        )
        columns[role] = column.cast(pa.string()) if mixed and holds(role) != "responses" else column
    return pa.table(columns)


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
