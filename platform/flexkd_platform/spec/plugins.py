"""Modules of other packages that register methods, losses or steps.

A spec names them in `plugins`; an installed package names them in the entry-point group
`flexkd.plugins`. Both are imported before the spec is validated.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .problems import Problem

GROUP = "flexkd.plugins"
"""The entry-point group of installed plugins."""


def load_plugins(data: Any, folder: Path) -> list[Problem]:
    """Import the plugins that a spec names, and those that are installed.

    Args:
        data: the spec as read, before validation.
        folder: the spec's folder, from which modules can be imported.

    Returns:
        One problem for each plugin that cannot be imported.
    """
    problems = load_installed_plugins()
    named = data.get("plugins") if isinstance(data, dict) else None
    if not isinstance(named, Sequence) or isinstance(named, str):
        return problems  # validation reports this
    if named:
        _make_importable(str(folder))
    for index, name in enumerate(named):
        error = _failure(name) if isinstance(name, str) else None
        if error is not None:
            message = f"cannot import {name!r}: {error}"
            problems.append(Problem(f"plugins[{index}]", message, _REMEDY))
    return problems


def load_installed_plugins() -> list[Problem]:
    """Import the plugins of installed packages; returns one problem for each that fails."""
    return [
        Problem("plugins", f"the installed plugin {entry.name!r} failed: {error}", _REMEDY)
        for entry in entry_points(group=GROUP)
        if (error := _failure(entry.value.partition(":")[0])) is not None
    ]


_REMEDY = "name an installed module, or a file in the spec's folder, without .py"


def _make_importable(folder: str) -> None:
    """Make a folder importable in this process and in those that it starts, such as Ray's."""
    if folder not in sys.path:
        sys.path.append(folder)
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in inherited:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*inherited, folder]))


def _failure(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except Exception as error:  # a plugin is third-party code: it may raise anything
        return f"{type(error).__name__}: {error}"
    return None
