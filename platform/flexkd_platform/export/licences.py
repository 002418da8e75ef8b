"""The licences of a job's teacher and data, where this machine can know them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, metadata, packages_distributions
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load, try_to_load_from_cache

from ..model_info import ModelError, locate
from ..model_info.locate import PACKAGE
from ..spec import (
    BlankModel,
    BuiltinSource,
    FilesSource,
    HubSource,
    JobSpec,
    Mixture,
    PretrainedInit,
)

UNKNOWN = "unknown"

BUILTIN = {"movie-reviews": "MIT", "docstrings": "PSF-2.0 and BSD-3-Clause"}
"""Licences of the data sets in this package; their texts are in `data/builtin/`."""


@dataclass(frozen=True)
class Source:
    """Something that a student is made from.

    name: as in the spec. hub: its name on the Hugging Face hub; None if it is not from there.
    """

    name: str
    licence: str
    hub: str | None = None


def teacher_source(spec: JobSpec) -> Source:
    """The teacher, or the config that it was created from."""
    return _model(spec.teacher.model)


def base_source(spec: JobSpec) -> Source | None:
    """The pretrained student; None for one that is cut from the teacher or random."""
    init = spec.student.init
    return _model(init.model) if isinstance(init, PretrainedInit) else None


def data_sources(spec: JobSpec) -> list[Source]:
    """The data set, or all parts of a mixture."""
    return [_data(each) for each in _parts(spec.task.data)]


def _parts(data: Any) -> Iterator[Any]:
    if isinstance(data, Mixture):
        yield from data.parts.values()
    else:
        yield data


def _data(source: Any) -> Source:
    if isinstance(source, BuiltinSource):
        name = str(source.name)  # type: ignore[attr-defined]
        return Source(f"{name} (included in flexkd)", BUILTIN.get(name, UNKNOWN))
    if isinstance(source, HubSource):
        name = source.name if source.config is None else f"{source.name} ({source.config})"
        return Source(name, _of_card(_cached_card(source.name, "dataset")), source.name)
    assert isinstance(source, FilesSource), "data are built in, of the hub, or files"
    # The path is that of someone's machine: a model card is read elsewhere.
    return Source(f"files: {Path(source.path).name}", UNKNOWN)


def _model(model: str | BlankModel) -> Source:
    if isinstance(model, BlankModel):
        kind = model.config.get("model_type", "model")
        return Source(f"a {kind} created from a config, with random weights", "none")
    if model.startswith(PACKAGE):
        return Source(model, _of_package(model))
    folder = Path(model).expanduser()
    if folder.is_dir():
        return Source(f"folder: {folder.name}", _of_card(folder / "README.md"))
    name = model.partition("@")[0]
    return Source(name, _of_card(_cached_card(name, "model")), name)


def _cached_card(name: str, kind: str) -> Path | None:
    found = try_to_load_from_cache(name, "README.md", repo_type=kind)
    return Path(found) if isinstance(found, str) else None


def _of_card(card: Path | None) -> str:
    """The licence in the front matter of a model or data card."""
    if card is None or not card.is_file():
        return UNKNOWN
    try:
        values: Mapping[str, Any] = metadata_load(card) or {}
    except ValueError:
        return UNKNOWN
    licence = values.get("license_name") or values.get("license")
    return ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence or UNKNOWN)


def _of_package(model: str) -> str:
    """The licence in the card of a model inside a Python package, or that of the package."""
    with suppress(ModelError):
        folder = locate(model)
        if isinstance(folder, Path) and (own := _of_card(folder / "README.md")) != UNKNOWN:
            return own
    module = model.removeprefix(PACKAGE).partition(".")[0]
    for distribution in packages_distributions().get(module, ()):
        declared = metadata(distribution)
        lines = [*_lines(declared, "License-Expression"), *_lines(declared, "License")]
        # Some packages hold the whole text there.
        found = next((line for line in lines if line and "\n" not in line), None)
        found = found or _classified(_lines(declared, "Classifier"))
        if found:
            return f"{found} (of the Python package)"
    return UNKNOWN


def _lines(declared: PackageMetadata, field: str) -> list[str]:
    return declared.get_all(field) or []


def _classified(classifiers: list[str]) -> str:
    names = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    return ", ".join(names)
