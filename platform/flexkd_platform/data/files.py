"""Files on this machine: which of them hold which split, and the identity of their content."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..spec import FilesSource, Problem, SpecError, Task, sha256_of
from .columns import Columns, column_names, listed, other_columns
from .dialect import Given
from .formats import FORMATS, dialect_problems, read_file
from .reading import READING_VERSION, Examples, Purpose, Reading
from .roles import withheld
from .saved import is_saved, saved_splits
from .shards import in_order, shard_note, split_name, whole_split
from .splits import SPLITS

OTHER_NAMES = {"dev": "validation", "val": "validation", "valid": "validation"}
"""Split names of other projects. If ignored silently, the split would be drawn from train."""

_BLOCK = 1 << 20


@dataclass
class _Content:
    """What has been read of the splits, and what their fingerprint is made of."""

    splits: dict[str, Examples] = field(default_factory=dict)
    identities: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def read_files(task: Task, path: str, purpose: Purpose) -> Reading:
    """The wanted columns of one file, or of a folder's train, validation and test."""
    data = task.data
    assert isinstance(data, FilesSource), "READERS goes by the source"
    place = f"{path}.path"
    files, problems = _files_of_splits(data.path, place, purpose)
    content = _Content(problems=problems)
    every = [file for shards in files.values() for file in shards]
    content.problems += dialect_problems(data, every, path)
    names, optional = column_names(data)
    columns = Columns(names, data.path, path, optional, other_columns(data))
    for split, shards in files.items():
        _read_split(data, columns, split, shards, content)
    if purpose == "training" and is_saved(_expanded(data.path)):
        _leave_out_withheld(content, place)
    if every == [_expanded(data.path)]:
        content.notes += shard_note(every[0], data.path, place)
    fingerprint = (
        ""
        if content.problems
        else sha256_of({"files": content.identities, "version": READING_VERSION})
    )
    return Reading(
        place, content.splits, fingerprint, tuple(content.problems), tuple(content.notes)
    )


def file_digest(file: Path) -> str:
    """Hex SHA-256 of a file's bytes, read block by block."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def training_files(path: str) -> list[Path]:
    """The files of the train split, or the only file; empty if there is none."""
    files, _ = _files_of_splits(path, "", "training")
    return files.get("train", [])


def _read_split(
    data: FilesSource, columns: Columns, split: str, shards: list[Path], content: _Content
) -> None:
    examples, identities = [], []
    folder = _expanded(data.path)
    for file in shards:
        inside = "" if file == folder else str(file.relative_to(folder))
        origin = str(Path(data.path, inside)) if inside else data.path
        try:
            found = read_file(file, replace(columns, origin=origin), Given.of(data))
            examples.append(Examples(found.table, origin, found.class_names))
            # The format too: the same bytes are other examples as TSV than as CSV.
            suffix = file.suffix.lower()
            identities.append([suffix, file_digest(file), *filter(None, [found.manner])])
            content.notes += found.notes
        except SpecError as error:
            content.problems += error.problems
        except OSError as error:
            message = f"cannot read {origin}: {error.strerror}"
            remedy = "give a file that this user can read"
            content.problems.append(Problem(f"{columns.path}.path", message, remedy))
    if len(examples) < len(shards):
        return
    try:
        content.splits[split] = Examples.joined(examples, f"{data.path} ({split})", columns.path)
    except SpecError as error:
        content.problems += error.problems
    content.identities[split] = identities[0] if len(shards) == 1 else identities


def _leave_out_withheld(content: _Content, place: str) -> None:
    """Drop a test or validation split whose labels are withheld, as those of the hub are."""
    for split in ("validation", "test"):
        examples = content.splits.get(split)
        if examples is None or "label" not in examples.table.column_names:
            continue
        if withheld(examples.table["label"]):
            del content.splits[split], content.identities[split]
            message = f"the labels of {examples.origin} are withheld: all of them are -1"
            remedy = f"the {split} split is drawn from train"
            content.notes.append(Problem(place, message, remedy))


def _expanded(path: str) -> Path:
    """A path with its ~ expanded; an unknown ~user stays unchanged and does not exist."""
    return Path(os.path.expanduser(path))


def _files_of_splits(
    given: str, place: str, purpose: Purpose
) -> tuple[dict[str, list[Path]], list[Problem]]:
    """Split → its files, in the order of `SPLITS` and of their shards."""
    path = _expanded(given)
    formats = ", ".join(FORMATS)
    if path.is_dir():
        if is_saved(path):
            return _files_of_saved(path, given, place, purpose)
        return _files_of_folder(path, given, place, purpose)
    if not path.exists():
        remedy = f"give a file ({formats}) or a folder; this is looked for in {Path.cwd()}"
        if path.is_absolute():
            remedy = f"give a file ({formats}) or a folder that is there"
        return {}, [Problem(place, f"{given!r} does not exist", remedy)]
    if path.suffix.lower() not in FORMATS:
        return {}, [
            Problem(place, f"{given} has an unknown format", f"the name must end in {formats}")
        ]
    return {"train" if purpose == "training" else "test": [path]}, []


def _files_of_saved(
    folder: Path, given: str, place: str, purpose: Purpose
) -> tuple[dict[str, list[Path]], list[Problem]]:
    try:
        files = saved_splits(folder, given, place)
    except SpecError as error:
        return {}, list(error.problems)
    if "" in files:
        return {"train" if purpose == "training" else "test": files[""]}, []
    if purpose == "evaluation":
        return _evaluated(files, folder, given, place, [])
    problems = []
    if "train" not in files:
        message = f"{given} contains no train split, but {listed(list(files))}"
        problems.append(Problem(place, message, "name a data set with a split train"))
    return files, problems


def _files_of_folder(
    folder: Path, given: str, place: str, purpose: Purpose
) -> tuple[dict[str, list[Path]], list[Problem]]:
    known = in_order(f for f in folder.iterdir() if f.suffix.lower() in FORMATS and f.is_file())
    files: dict[str, list[Path]] = {}
    problems = []
    for split in SPLITS:
        found = [file for file in known if split_name(file) == split]
        if wrong := whole_split(found, split, given, place) if found else []:
            problems += wrong
        elif found:
            files[split] = found
    if purpose == "evaluation":
        return _evaluated(files, folder, given, place, problems)
    for file in known:
        split = OTHER_NAMES.get(split_name(file), "")
        if split and split not in files:
            message = f"{given} holds {file.name}, which is not the name of a split"
            renamed = file.name.replace(split_name(file), split, 1)
            problems.append(Problem(place, message, f"name it {renamed}"))
    if not any(split_name(file) == "train" for file in known):
        message = f"{given} contains no train file ({_there(folder)})"
        allowed = " or ".join(f"train{suffix}" for suffix in FORMATS)
        below = _folder_with_train(folder)
        remedy = f"name the folder {given}/{below}" if below else f"it must hold {allowed}"
        problems.append(Problem(place, message, remedy))
    return files, problems


def _folder_with_train(folder: Path) -> str:
    """A folder in `folder` with a train split, as `data` in a copy of a hub's repository."""
    for below in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        names = [file for file in below.iterdir() if file.suffix.lower() in FORMATS]
        if is_saved(below) or any(split_name(file) == "train" for file in names):
            return below.name
    return ""


def _evaluated(
    files: dict[str, list[Path]], folder: Path, given: str, place: str, problems: list[Problem]
) -> tuple[dict[str, list[Path]], list[Problem]]:
    """The split of a folder to evaluate on, as `test`."""
    chosen = files.get("test", files.get("train"))
    if chosen is None and not problems:
        message = f"{given} contains neither a test nor a train file ({_there(folder)})"
        allowed = " or ".join(f"test{suffix}" for suffix in FORMATS)
        problem = Problem(place, message, f"it must hold {allowed}; or name a file of it")
        return {}, [problem]
    return {} if chosen is None else {"test": chosen}, problems


def _there(folder: Path) -> str:
    found = listed(sorted(entry.name for entry in folder.iterdir()))
    return f"found: {found}" if found else "the folder is empty"
