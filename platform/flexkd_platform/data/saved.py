"""Folders that `datasets` writes with `save_to_disk`: a `Dataset`, or a `DatasetDict` of splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..spec import Problem, SpecError
from .columns import listed
from .splits import SPLITS

STATE, SPLIT_LIST = "state.json", "dataset_dict.json"

USUAL_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""Usual names of a split; the first one that exists is used."""


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / STATE).is_file() or (folder / SPLIT_LIST).is_file()


def saved_splits(folder: Path, given: str, place: str) -> dict[str, list[Path]]:
    """Split → its shards in order; a folder of one data set has the split "".

    Raises:
        SpecError: files are missing, or the folder cannot be read.
    """
    if (folder / STATE).is_file():
        return {"": _shards(folder, given, place)}
    names = _json(folder / SPLIT_LIST, given, place).get("splits", [])
    used = {
        split: next((name for name in usual if name in names), None)
        for split, usual in USUAL_NAMES.items()
    }
    problems: list[Problem] = []
    splits = {}
    for split in SPLITS:
        name = used[split]
        if name is None:
            continue
        try:
            splits[split] = _shards(folder / name, f"{given}/{name}", place)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    if not splits:
        message = f"{given} has no split train, validation or test, but {listed(names)}"
        raise SpecError([Problem(place, message, "name the folder of one of them")])
    return splits


def _shards(folder: Path, given: str, place: str) -> list[Path]:
    """The files that a data set's state names.

    Raises:
        SpecError: one of them is missing, or the rows are picked by an index.
    """
    state = _json(folder / STATE, given, place)
    names = [entry["filename"] for entry in state.get("_data_files") or []]
    if state.get("_indices_data_files") or state.get("_indices_files"):
        message = f"{given} was saved with an index of its rows by an old version of datasets"
        raise SpecError([Problem(place, message, "save its flatten_indices() again")])
    files = [folder / Path(name).name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = f"lacks {listed(missing)}, named in its" if missing else "names no files in its"
        raise SpecError([Problem(place, f"{given} {what} {STATE}", "save the data set again")])
    return files


def _json(file: Path, given: str, place: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        message = f"{given} has no {file.name}"
    except ValueError as error:
        message = f"{file.name} of {given} is no JSON: {error}"
    else:
        if isinstance(content, dict):
            return content
        message = f"{file.name} of {given} is no JSON object"
    raise SpecError([Problem(place, message, "save the data set again")])
