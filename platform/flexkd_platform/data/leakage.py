"""Leakage: examples of one split whose input is in another split too, byte by byte."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ..spec import Problem, be

KEEPS = (("validation", "test"), ("train", "test"), ("train", "validation"))
"""Pairs of splits; the second one keeps an example that is in both. Numbers of the test split stay
comparable with those of others, and those of validation independent of what is trained on."""

_INPUTS = ("text", "text_pair", "prompt")


def shared_rows(table: pa.Table, other: pa.Table) -> pa.ChunkedArray:
    """Which rows of `table` have an input that `other` has too: one bool per row."""
    names = [name for name in _INPUTS if name in table.column_names]
    return pc.is_in(_joined(table, names), value_set=_joined(other, names).combine_chunks())


def shared(table: pa.Table, other: pa.Table) -> int:
    """The number of rows of `table` whose input is in `other` too."""
    return int(pc.sum(shared_rows(table, other)).as_py() or 0)


def without_leaked(
    tables: dict[str, pa.Table], path: str
) -> tuple[dict[str, pa.Table], dict[str, int], list[Problem]]:
    """Leave out rows that another split keeps, as in `KEEPS`.

    Args:
        tables: the splits that the source has.
        path: of the data section in the spec.

    Returns:
        The splits; the number of rows that were left out of each; problems.
    """
    if len(tables) < 2:
        message = "all splits are drawn from train, by their texts, and share none"
        problem = Problem(f"{path}.drop_leaked", message, "leave it out")
        return tables, {}, [problem]
    kept, dropped, problems = dict(tables), dict.fromkeys(tables, 0), []
    for split, other in KEEPS:
        if split not in kept or other not in kept:
            continue
        rest = kept[split].filter(pc.invert(shared_rows(kept[split], kept[other])))
        dropped[split] += len(kept[split]) - len(rest)
        kept[split] = rest
    for split, rows in dropped.items():
        if rows and not len(kept[split]):
            message = f"all {rows:,} examples of {split} are in another split too"
            remedy = f"give other examples, or leave the {split} split away if it may be drawn"
            problems.append(Problem(f"{path}.drop_leaked", message, remedy))
    return kept, dropped, problems


def leakage_notes(tables: dict[str, pa.Table], path: str) -> list[Problem]:
    """A note for each pair of splits that share inputs; `path` is of the data section."""
    notes = []
    for other, split in (("test", "validation"), ("train", "test"), ("train", "validation")):
        rows = shared(tables[split], tables[other])
        if rows:
            whole = f"{len(tables[split]):,}"
            message = f"{rows:,} of {whole} {split} examples {be(rows)} also in {other}"
            left = "validation" if other == "test" else "train"
            remedy = f"set drop_leaked: true, which leaves them out of {left}"
            notes.append(Problem(path, message, remedy))
    return notes


def _joined(table: pa.Table, names: list[str]) -> pa.ChunkedArray:
    if len(names) == 1:
        return table[names[0]]
    # No text contains a zero byte, so different pairs have different keys.
    return pc.binary_join_element_wise(*(table[name] for name in names), "\0")
