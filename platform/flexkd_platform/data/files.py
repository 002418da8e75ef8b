"""Files on this machine: which of them hold which split, and the identity of their content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..spec import FilesSource, Problem, SpecError, Task, sha256_of
from .columns import Columns, column_names, listed
from .dialect import Given
from .formats import FORMATS, dialect_problems, read_file
from .reading import READING_VERSION, Examples, Purpose, Reading
from .splits import SPLITS

OTHER_NAMES = {"dev": "validation", "val": "validation", "valid": "validation"}
"""Split names of other projects. If ignored silently, the split would be drawn from train."""

_BLOCK = 1 << 20


def read_files(task: Task, path: str, purpose: Purpose) -> Reading:
    """The wanted columns of one file, or of a folder's train, validation and test."""
    data = task.data
    assert isinstance(data, FilesSource), "READERS goes by the source"
    names, optional = column_names(data)
    place = f"{path}.path"
    files, problems = _files_of_splits(data.path, place, purpose)
    problems += dialect_problems(data, list(files.values()), path)
    splits, contents = {}, {}
    notes: list[Problem] = []
    for split, file in files.items():
        one_file = file == _expanded(data.path)
        origin = data.path if one_file else str(Path(data.path, file.name))
        columns = Columns(names, origin, path, optional)
        suffix = file.suffix.lower()
        try:
            content = read_file(file, columns, Given.of(data))
            splits[split] = Examples(content.table, columns.origin)
            # The format too: the same bytes are other examples as TSV than as CSV.
            contents[split] = [suffix, file_digest(file), *filter(None, [content.identity])]
            notes += content.notes
        except SpecError as error:
            problems += error.problems
        except OSError as error:
            remedy = "give a file that this user can read"
            problems.append(
                Problem(place, f"cannot read {columns.origin}: {error.strerror}", remedy)
            )
    fingerprint = "" if problems else sha256_of({"files": contents, "version": READING_VERSION})
    return Reading(place, splits, fingerprint, tuple(problems), tuple(notes))


def file_digest(file: Path) -> str:
    """Hex SHA-256 of a file's bytes, read block by block."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _expanded(path: str) -> Path:
    """A path with its ~ expanded; an unknown ~user stays unchanged and does not exist."""
    return Path(os.path.expanduser(path))


def _files_of_splits(
    given: str, place: str, purpose: Purpose
) -> tuple[dict[str, Path], list[Problem]]:
    """Split → its file, in the order of `SPLITS`."""
    path = _expanded(given)
    formats = ", ".join(FORMATS)
    if path.is_dir():
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
    return {"train" if purpose == "training" else "test": path}, []


def _files_of_folder(
    folder: Path, given: str, place: str, purpose: Purpose
) -> tuple[dict[str, Path], list[Problem]]:
    known = sorted(f for f in folder.iterdir() if f.suffix.lower() in FORMATS and f.is_file())
    files: dict[str, Path] = {}
    problems = []
    for split in SPLITS:
        found = [file for file in known if file.stem == split]
        if len(found) > 1:
            names = " and ".join(file.name for file in found)
            problems.append(Problem(place, f"{given} holds {names}", f"leave one {split} file"))
        elif found:
            files[split] = found[0]
    if purpose == "evaluation":
        return _evaluated(files, folder, given, place, problems)
    for file in known:
        split = OTHER_NAMES.get(file.stem, "")
        if split and split not in files:
            message = f"{given} holds {file.name}, which is not the name of a split"
            problems.append(Problem(place, message, f"name it {split}{file.suffix}"))
    if not any(file.stem == "train" for file in known):
        message = f"{given} contains no train file ({_there(folder)})"
        allowed = " or ".join(f"train{suffix}" for suffix in FORMATS)
        problems.append(Problem(place, message, f"it must hold {allowed}"))
    return files, problems


def _evaluated(
    files: dict[str, Path], folder: Path, given: str, place: str, problems: list[Problem]
) -> tuple[dict[str, Path], list[Problem]]:
    """The split of a folder to evaluate on, as `test`."""
    chosen = files.get("test", files.get("train"))
    if chosen is None:
        message = f"{given} contains neither a test nor a train file ({_there(folder)})"
        allowed = " or ".join(f"test{suffix}" for suffix in FORMATS)
        problem = Problem(place, message, f"it must hold {allowed}; or name a file of it")
        return {}, [*problems, problem]
    return {"test": chosen}, problems


def _there(folder: Path) -> str:
    found = listed(sorted(entry.name for entry in folder.iterdir()))
    return f"found: {found}" if found else "the folder is empty"
