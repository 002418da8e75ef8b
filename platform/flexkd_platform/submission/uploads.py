"""The local files, model folders and plugins that a spec names. They are uploaded, stay in shared
storage, or are rejected before anything is sent.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model_info import ModelError
from ..model_info.adapter import adapter_of
from ..spec import JobSpec, Problem

FOLDER = "inputs"
"""Folder of uploaded files in the job's working directory."""

MEBIBYTE = 1024**2

MOST_MEBIBYTES = 95
"""Ray's dashboard accepts uploads of up to 100 MiB; the spec and the file names need some of it."""

IGNORED = shutil.ignore_patterns("__pycache__", ".*")
"""Caches, and hidden files, which may contain secrets (.env) and which no reader of data or models
uses. Ray would also apply an ignore file to the upload.
"""

_LEAVES = ("path", "model", "bertscore_model")
"""Keys of a spec that may contain a local file or folder."""


@dataclass(frozen=True)
class Input:
    """A file or folder that a spec names.

    places: the paths in the spec that name it, as keys and indices.
    """

    source: Path
    places: tuple[tuple[str | int, ...], ...]

    @property
    def where(self) -> str:
        """The first path in the spec, dotted."""
        return ".".join(map(str, self.places[0]))

    def files(self) -> list[Path]:
        """The files to upload, sorted by name; symbolic links are followed."""
        if self.source.is_file():
            return [self.source]
        found = []
        for place, folders, names in os.walk(self.source, followlinks=True):
            ignored = IGNORED(place, [*folders, *names])
            folders[:] = [name for name in folders if name not in ignored]
            found += [Path(place, name) for name in names if name not in ignored]
        return sorted(path for path in found if path.is_file())

    def size(self) -> int:
        """Total size of its files in bytes."""
        return sum(path.stat().st_size for path in self.files())

    def name(self) -> str:
        """Its name with a digest of its content: the same on every machine."""
        digest = hashlib.sha256()
        for path in self.files():
            inside = path.relative_to(self.source).as_posix()
            digest.update(f"{inside}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while block := file.read(MEBIBYTE):
                    digest.update(block)
        short = digest.hexdigest()[:12]
        stem, dot, suffix = self.source.name.partition(".")
        if self.source.is_dir():
            return f"{self.source.name}-{short}"
        return f"{stem}-{short}{dot}{suffix}"  # the suffix selects the reader


@dataclass(frozen=True)
class Inputs:
    """The local files that a spec names: those to upload, and those that are in shared storage.

    plugins: modules next to the spec, which are uploaded under their own names.
    """

    travelling: tuple[Input, ...]
    staying: tuple[Input, ...]
    plugins: tuple[Input, ...] = ()

    def problems(self, limit: int) -> list[Problem]:
        """Files that cannot be read or are too large to upload; `limit` in MiB."""
        closed = [
            Problem(found.where, f"{path} cannot be read", f"chmod u+r {path}")
            for found in (*self.travelling, *self.plugins)
            for path in found.files()
            if not os.access(path, os.R_OK)
        ]
        if closed:
            return closed
        left = [found for found in self.travelling if _base_outside(found.source)]
        if left:
            return [
                Problem(
                    found.where,
                    f"{found.source} is a PEFT adapter whose base is another folder, "
                    f"{_base_outside(found.source)}, which is not uploaded with it",
                    "put both below a storage folder that the cluster shares, or the base inside "
                    "the adapter's folder",
                )
                for found in left
            ]
        sizes = {found: found.size() for found in (*self.travelling, *self.plugins)}
        if sum(sizes.values()) <= limit * MEBIBYTE:
            return []
        raised = f"; or raise --carry, to at most {MOST_MEBIBYTES} (MiB)"
        remedy = (
            "put it below a storage folder that the cluster shares, or name data and models of "
            f"the Hugging Face hub{raised if limit < MOST_MEBIBYTES else ''}"
        )
        return [
            Problem(
                found.where,
                f"{found.source} has {size / MEBIBYTE:.1f} MiB; uploads are limited to {limit} MiB "
                "in total",
                remedy,
            )
            for found, size in sorted(sizes.items(), key=lambda item: -item[1])[:1]
        ]

    def renamed(self, spec: JobSpec) -> JobSpec:
        """The spec as the job reads it: uploaded files have a name derived from their content.

        The spec's hash, and with it the job's id, therefore depend on the content of the files and
        not on their local paths.
        """
        data = copy.deepcopy(spec.to_json())
        for found in self.travelling:
            for place in found.places:
                _set(data, place, f"{FOLDER}/{found.name()}")
        for found in self.staying:
            for place in found.places:
                _set(data, place, str(found.source))
        return JobSpec.model_validate_json(json.dumps(data))

    def copy_to(self, folder: Path) -> None:
        """Copy the files to upload to the job's working directory."""
        targets = {found: folder / FOLDER / found.name() for found in self.travelling}
        targets |= {found: folder / found.source.name for found in self.plugins}
        for found, target in targets.items():
            if found.source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            for path in found.files():
                copied = target / path.relative_to(found.source)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copied)


def local_inputs(
    spec: JobSpec, storage: str, folder: Path | None = None
) -> tuple[Inputs, list[Problem]]:
    """The local files and folders that a spec names, and the problems of those that do not exist.

    storage: if it is a folder, everything below it is visible to the cluster as well.
    folder: the spec's folder; its modules can be plugins.

    An absolute path that does not exist here may exist on the cluster; the job checks it there.
    """
    storage = storage.removeprefix("file://")
    # An unknown home folder is not expanded, and then does not exist as a folder.
    shared = None if "://" in storage else Path(os.path.expanduser(storage)).resolve()
    places: dict[Path, list[tuple[str | int, ...]]] = {}
    problems = []
    for place, text in _named(spec.to_json(), ()):
        path = Path(os.path.expanduser(text))
        is_path = str(place[-1]).rpartition(".")[2] == "path" or (
            isinstance(place[-1], int) and str(place[-2]).endswith(".path")
        )
        if path.is_dir() or (is_path and path.exists()):
            places.setdefault(path.resolve(), []).append(place)
        elif (is_path or text.startswith("~")) and not path.is_absolute():
            problems.append(
                Problem(".".join(map(str, place)), f"{text} does not exist", "correct the path")
            )
    found = [Input(source, tuple(where)) for source, where in places.items()]
    stays = [i for i in found if shared is not None and i.source.is_relative_to(shared)]
    travels = [i for i in found if i not in stays]
    plugins = () if folder is None else tuple(_plugins(spec, folder))
    return Inputs(tuple(travels), tuple(stays), plugins), problems


def _base_outside(folder: Path) -> Path | None:
    """The folder of an adapter's base, if it is not inside the adapter's own folder."""
    try:
        adapter = adapter_of(folder) if folder.is_dir() else None
    except ModelError:
        return None  # reported by the checks of the job
    if adapter is None or not isinstance(adapter.base, Path):
        return None
    return None if adapter.base.is_relative_to(folder) else adapter.base


def _plugins(spec: JobSpec, folder: Path) -> Iterator[Input]:
    """Plugins that are a file or a package next to the spec; others must be installed there."""
    places: dict[str, int] = {}
    for index, name in enumerate(spec.plugins):
        places.setdefault(name.partition(".")[0], index)
    for name, index in places.items():
        module = folder / name
        for path in (module, module.with_name(f"{module.name}.py")):
            if (path.is_file() and path.suffix == ".py") or (path / "__init__.py").is_file():
                yield Input(path.resolve(), (("plugins", index),))


def _named(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """All strings that may be paths, with their place: the value of a key, or of an axis of one."""
    keys = [part for part in place[-2:] if isinstance(part, str)]
    if isinstance(value, str):
        if keys and keys[-1].rpartition(".")[2] in _LEAVES:
            yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _named(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _named(inner, (*place, number))


def _set(data: Any, place: tuple[str | int, ...], value: str) -> None:
    for part in place[:-1]:
        data = data[part]
    data[place[-1]] = value
