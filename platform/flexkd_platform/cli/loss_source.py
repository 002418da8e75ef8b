"""The losses of `flexkd_core` and their formulas, read from its source.

Importing them would import torch, which takes seconds and is not needed for a list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "flexkd_core.losses"

TABLES = {
    "feature": ("_feature_losses",),
    "logit": ("_class_losses", "_logit_losses"),
}
"""The tables of the package in which a kind of loss is registered."""


def losses_in_source() -> Iterator[tuple[str, str]]:
    """The name of each loss, with its kind and the first line of its docstring."""
    package = _parsed(PACKAGE)
    modules = {
        alias.name: statement.module
        for statement in package.body
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
        for alias in statement.names
    }
    tables = {
        statement.target.id: statement.value
        for statement in package.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }
    for kind, names in TABLES.items():
        for table in names:
            entries = tables[table]
            assert isinstance(entries, ast.Dict)
            for key, function in zip(entries.keys, entries.values, strict=True):
                if key is None:  # `**` of a table above
                    continue
                assert isinstance(key, ast.Constant)
                assert isinstance(function, ast.Name)
                formula = _first_line(modules[function.id], function.id)
                yield str(key.value), f"{kind}: {formula}"


def _folder() -> Path:
    found = find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _parsed(module: str) -> ast.Module:
    # `find_spec` of a module of the package would import the package.
    path = _folder() / f"{module.removeprefix(PACKAGE).removeprefix('.') or '__init__'}.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def _first_line(module: str, function: str) -> str:
    for statement in _parsed(module).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            return (ast.get_docstring(statement) or "").partition("\n")[0]
    raise LookupError(f"{module} does not define {function}")
