"""All three splits, in the sizes that a spec requests."""

from __future__ import annotations

import pyarrow as pa

from ..spec import MadeSplits, Problem, SplitSizes, counted
from .prepared import KEY
from .splits import SPLITS, drawn, subset, texts_of
from .stratified import drawn_by_class


def cut(
    tables: dict[str, pa.Table], data: SplitSizes, path: str, place: str
) -> tuple[dict[str, pa.Table], list[Problem]]:
    """Draw missing splits from train, and subsets; returns the splits and problems of sizes.

    Args:
        tables: the splits that the source has, including `train`, with the column `KEY`.
        data: the section with the sizes.
        path: of that section in the spec.
        place: path in the spec of the examples' location.
    """
    if any(len(table) == 0 for table in tables.values()):
        return tables, []
    missing = [split for split in SPLITS if split not in tables]
    problems = []
    if missing:
        assert isinstance(data, MadeSplits), "data sets of the package have all splits"
        both = {"validation": data.validation_share, "test": data.test_share}
        shares = {split: both[split] for split in missing}
        if sum(shares.values()) >= 1:
            message = f"{' and '.join(missing)} take {sum(shares.values()):g} of the train split"
            return tables, [Problem(f"{path}.test_share", message, "leave some for training")]
        whole = tables["train"]
        part_N = (
            drawn_by_class(whole, KEY, shares, data.subset_seed)
            if data.stratified
            else drawn(texts_of(whole, KEY), shares, data.subset_seed)
        )
        tables = tables | {
            split: whole.filter(pa.array(part_N == split)) for split in (*missing, "train")
        }
    for split in SPLITS:
        if len(tables[split]) == 0:
            message = f"no example is left for the {split} split, which is drawn from train"
            remedy = f"give more examples, a {split} file, or other shares"
            problems.append(Problem(place, message, remedy))
            continue
        tables[split], found = sized(tables[split], split, data, path, from_train=bool(missing))
        problems += found
    return tables, problems


def sized(
    table: pa.Table, split: str, data: SplitSizes, path: str, *, from_train: bool = False
) -> tuple[pa.Table, list[Problem]]:
    """One split in the requested size; from_train: whether missing splits were drawn from it."""
    rows, wanted = len(table), getattr(data, split)
    if wanted is None:
        return table, []
    if wanted > rows:
        drawn_from = " once the missing splits are drawn from it" if from_train else ""
        message = f"{counted(wanted, 'example')} requested, but {split} has {rows:,}{drawn_from}"
        remedy = f"request at most {rows:,}, or leave it out to use them all"
        return table, [Problem(f"{path}.{split}", message, remedy)]
    return subset(table, wanted, split, data.subset_seed, KEY), []
