"""Model checks with a local cache: torch takes seconds to import, and a model with the same files
has the same result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..cache_folder import CACHE as CACHE
from ..cache_folder import cache_folder
from ..model_info import ModelError, ModelFacts, locate
from ..model_info.adapter import adapter_of
from ..model_info.facts import folder_fingerprint
from ..plan import StackShape
from ..spec import (
    BlankModel,
    Lora,
    ModulePaths,
    PretrainedInit,
    Problem,
    StudentInit,
    sha256_of,
)

Checked = tuple[ModelFacts | None, list[Problem]]

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "gguf",
    "accelerate",
    "peft",
    "bitsandbytes",
)
"""Packages whose versions affect the result of a model check."""


def checked_model(
    model: str, revision: str | None, *, path: str, modules: ModulePaths | None = None
) -> Checked:
    """Cached `models.check_model`."""

    def check() -> Checked:
        from ..models import check_model

        return check_model(model, revision, path=path, modules=modules)

    return _remembered("model", _with_modules(files_of(model, revision), modules), check)


def checked_config(model: BlankModel, *, path: str) -> Checked:
    """Cached `models.check_config`."""

    def check() -> Checked:
        from ..models import check_config

        return check_config(model.config, model.vocab_size, path=path)

    return _remembered("config", model.to_json(), check)


def checked_student(init: StudentInit, teacher: ModelFacts, *, must_fit: bool) -> Checked:
    """Cached `models.check_student`."""

    def check() -> Checked:
        from ..models import check_student

        return check_student(init, teacher, must_fit=must_fit)

    key: object = [init.to_json(), asdict(teacher), must_fit]
    if isinstance(init, PretrainedInit):
        files = files_of(init.model, init.revision)
        checked = None if files is None else [files, teacher.hidden_size, must_fit]
        key = _with_modules(checked, init.modules)
    return _remembered("student", key, check)


def checked_lora(lora: Lora, student: ModelFacts) -> Checked:
    """Cached `models.check_lora`."""

    def check() -> Checked:
        from ..models import check_lora

        return check_lora(lora, student)

    return _remembered("lora", [lora.to_json(), asdict(student)], check)


def _with_modules(key: object, modules: ModulePaths | None) -> object:
    """The key of a model, some of whose modules the spec may name."""
    return key if key is None or modules is None else [key, modules.to_json()]


def files_of(model: str, revision: str | None) -> object:
    """The cache key of a model's files; None if the model is not determined by local files."""
    try:
        source = locate(model, revision)
        if not isinstance(source, Path):
            return None  # a branch on the hub may have new commits
        adapter = adapter_of(source)
        base = source if adapter is None else adapter.base
        if not isinstance(base, Path):
            return None
        folders = sorted({source, base})
        files = [sorted((f.name, f.stat().st_size) for f in each.iterdir()) for each in folders]
        return [folder_fingerprint(source), *files]
    except (ModelError, OSError):
        return None  # the check reports the problem


def _remembered(what: str, key: object, check: Callable[[], Checked]) -> Checked:
    """The result of a check, from the cache if an earlier process found no problem."""
    file = _file_of(what, key)
    if file is None:
        return check()
    try:
        return _facts_of(json.loads(file.read_text(encoding="utf-8"))), []
    except (OSError, ValueError, TypeError, KeyError):
        pass  # not cached, or incomplete
    facts, problems = check()
    if facts is not None and not problems:
        _write(file, json.dumps(asdict(facts)))
    return facts, problems


def remembered_json(what: str, key: object, check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of any check as JSON, from the cache if an earlier process found no `problems`."""
    file = _file_of(what, key)
    if file is None:
        return check()
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        pass  # not cached, or incomplete
    found = check()
    if not found.get("problems"):
        _write(file, json.dumps(found))
    return found


def _file_of(what: str, key: object) -> Path | None:
    """The file of a remembered check; None if it cannot be remembered."""
    folder = _folder()
    if key is None or folder is None:
        return None
    name = sha256_of({"what": what, "key": key, "code": _code(), "packages": _packages()})
    return folder / f"{name}.json"


def _facts_of(values: Mapping[str, Any]) -> ModelFacts:
    stacks = tuple(StackShape(**stack) for stack in values["stacks"])
    return ModelFacts(**{**values, "stacks": stacks})


def _write(file: Path, text: str) -> None:
    """Write a file atomically. If the folder is not writable, the result is not cached."""
    aside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.tmp")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, file)


def _folder() -> Path | None:
    """The folder of the results; None without a cache folder."""
    cache_of_user = cache_folder()
    return None if cache_of_user is None else cache_of_user / "models"


@cache
def _code() -> str:
    """Hex SHA-256 over the code of the model checks: a change invalidates the cache."""
    package = Path(__file__).parents[1]
    return source_digest([*package.glob("models/**/*.py"), *package.glob("model_info/*.py")])


def source_digest(files: Iterable[Path]) -> str:
    """Hex SHA-256 over the names and contents of files, in the order of their paths."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@cache
def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
