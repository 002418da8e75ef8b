"""Leakage: examples of one split whose input is in another split too.

It is the same byte by byte, or nearly: but for case, spaces and punctuation.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ..spec import Problem, be, counted

KEEPS = (("validation", "test"), ("train", "test"), ("train", "validation"))
"""Pairs of splits; the second one keeps an example that is in both. Numbers of the test split stay
comparable with those of others, and those of validation independent of what is trained on."""

_INPUTS = ("text", "text_pair", "prompt")

_IGNORED = r"[\p{P}\p{Z}\p{C}]+"
"""Punctuation, spaces and control characters. Symbols stay: `1+1` is not `11`."""

NEARLY = "but for case, spaces and punctuation"
"""How near duplicates are called in messages."""


def shared_rows(table: pa.Table, other: pa.Table) -> pa.ChunkedArray:
    """Which rows of `table` have an input that `other` has too: one bool per row."""
    names = [name for name in _INPUTS if name in table.column_names]
    return pc.is_in(_joined(table, names), value_set=_joined(other, names).combine_chunks())


def shared(table: pa.Table, other: pa.Table) -> int:
    """The number of rows of `table` whose input is in `other` too."""
    return int(pc.sum(shared_rows(table, other)).as_py() or 0)


def near_rows(table: pa.Table, other: pa.Table) -> pa.ChunkedArray:
    """Which rows of `table` have an input that `other` has too, or nearly."""
    names = [name for name in _INPUTS if name in table.column_names]
    own, others = (_joined(_plain(each, names), names) for each in (table, other))
    return pc.is_in(own, value_set=others.combine_chunks())


def nearly_shared(table: pa.Table, other: pa.Table) -> int:
    """The number of rows of `table` whose input is nearly in `other`, without `shared` ones."""
    near = pc.and_(near_rows(table, other), pc.invert(shared_rows(table, other)))
    return int(pc.sum(near).as_py() or 0)


def with_plain_keys(table: pa.Table, key: str) -> pa.Table:
    """The table with equal keys for nearly equal ones, which are then drawn for one split."""
    return table.set_column(
        table.column_names.index(key), key, plain_texts(table[key].fill_null(""))
    )


def plain_texts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in Unicode's form NFKC and lower case, without spaces and punctuation.

    A text of nothing else is left as it is.
    """
    lower = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
    bare = pc.replace_substring_regex(lower, pattern=_IGNORED, replacement="")
    return pc.if_else(pc.equal(pc.binary_length(bare), 0), texts, bare)


def without_leaked(
    tables: dict[str, pa.Table], path: str, *, near: bool
) -> tuple[dict[str, pa.Table], dict[str, int], list[Problem]]:
    """Leave out rows that another split keeps, as in `KEEPS`.

    Args:
        tables: the splits that the source has.
        path: of the data section in the spec.
        near: leave out near duplicates too.

    Returns:
        The splits; the number of rows that were left out of each; problems.
    """
    if len(tables) < 2 and not near:
        message = "all splits are drawn from train, by their texts, and share none"
        problem = Problem(f"{path}.drop_leaked", message, "leave it out")
        return tables, {}, [problem]
    kept, dropped, problems = dict(tables), dict.fromkeys(tables, 0), []
    for split, other in KEEPS:
        if split not in kept or other not in kept:
            continue
        leaked = (near_rows if near else shared_rows)(kept[split], kept[other])
        rest = kept[split].filter(pc.invert(leaked))
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
        found = leaked_text(tables[split], tables[other], f"{split} ", other)
        if found:
            message, value = found
            left = "validation" if other == "test" else "train"
            remedy = f"set drop_leaked: {value}, which leaves them out of {left}"
            notes.append(Problem(path, message, remedy))
    return notes


def leaked_text(table: pa.Table, other: pa.Table, kind: str, name: str) -> tuple[str, str] | None:
    """What to say about rows that another table has too; None if there are none.

    Args:
        kind: of the examples, as "test ", or "".
        name: of the other table.

    Returns:
        The message, and the value of `drop_leaked` that leaves them out.
    """
    rows, near = shared(table, other), nearly_shared(table, other)
    if not rows and not near:
        return None
    some = rows or near
    message = f"{some:,} of {counted(len(table), f'{kind}example')} {be(some)} also in {name}"
    if not rows:
        return f"{message} {NEARLY}", "near"
    more = f", and {near:,} more {NEARLY} (drop_leaked: near)" if near else ""
    return message + more, "true"


def _plain(table: pa.Table, names: list[str]) -> pa.Table:
    return pa.table({name: plain_texts(table[name]) for name in names})


def _joined(table: pa.Table, names: list[str]) -> pa.ChunkedArray:
    if len(names) == 1:
        return table[names[0]]
    # No text contains a zero byte, so different pairs have different keys.
    return pc.binary_join_element_wise(*(table[name] for name in names), "\0")
