"""Adapters of PEFT: a folder with a few weights that change those of a base model.

`adapter_config.json` names the base; the adapter is merged into it when a model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TOKENIZER_FILES, has_weights
from .errors import ModelError, first_line
from .hub import Source, folder_of
from .locate import PACKAGE, locate

MERGEABLE = (
    "LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "HRA", "FOURIERFT",
)  # fmt: skip
"""Kinds of adapters (`peft_type`) that become part of the weights. LoRA includes rsLoRA and DoRA.

Prompts and prefixes are further inputs, and no weights.
"""

_BASE = "base_model_name_or_path"

HEAD_KEYS = ("id2label", "label2id", "problem_type", "label_mean", "label_std")
"""Keys of a config.json that describe a head: its classes, its task, the unit of its output."""

HEAD_FILE = "flexkd_head.json"
"""Those keys of a student's head, beside its adapter.

A config.json there would be taken for that of a whole model: transformers 5.23 then looks for
weights in the adapter's folder and fails.
"""

_PLACE = (_BASE, "revision", "inference_mode")
"""Keys of an adapter's config that are not properties of its weights."""


@dataclass(frozen=True)
class Adapter:
    """An adapter and its base.

    folder: holds the adapter, and its tokenizer if that is not the base's.
    weights: its safetensors or pickle file.
    values: of its config.
    base: the model that it was trained on, as `locate` returns it.
    """

    folder: Path
    weights: Path
    values: Mapping[str, Any]
    base: Source

    def describe(self) -> str:
        """The adapter and its base in a message."""
        return _describe(self.folder, str(self.values[_BASE]), self.base)

    def properties(self) -> dict[str, Any]:
        """The settings that decide what the weights do."""
        return {key: value for key, value in self.values.items() if key not in _PLACE}


def adapter_of(folder: Path) -> Adapter | None:
    """The adapter that a model's folder holds; None for one without.

    Raises:
        ModelError: its base is missing; it lies beside the weights of a whole model; it is
            incomplete or of a kind that cannot be merged; PEFT is not installed.
    """
    found = [name for name in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS) if (folder / name).is_file()]
    if not found:
        return None
    if has_weights(folder):
        raise ModelError(
            f"{folder} holds the weights of a whole model and a PEFT adapter ({found[0]}): whether "
            "the weights already include the adapter cannot be known",
            "if they do, remove the adapter's files; otherwise move them to a folder of their own, "
            "whose adapter_config.json names this one as base_model_name_or_path",
        )
    values = _read_config(folder)
    weights = [folder / name for name in ADAPTER_WEIGHTS if name in found]
    if not weights:
        raise ModelError(
            f"{folder} has {ADAPTER_CONFIG} but no weights of an adapter",
            f"it needs {' or '.join(ADAPTER_WEIGHTS)}: save the adapter again with PEFT's "
            "save_pretrained",
        )
    _require_mergeable(folder, values["peft_type"])
    return Adapter(folder, weights[0], values, _find_base(folder, values))


def base_folder(folder: Path) -> Path:
    """The folder of config and weights: the base's if the folder holds an adapter, else itself.

    A base of the hub is downloaded. Raises as `adapter_of` and `folder_of`.
    """
    adapter = adapter_of(folder)
    return folder if adapter is None else folder_of(adapter.base, weights=True)


def tokenizer_folder(folder: Path) -> Path:
    """The folder of a model's tokenizer: an adapter's own if it has one, else its base's."""
    adapter = adapter_of(folder)
    if adapter is None or any((folder / name).is_file() for name in TOKENIZER_FILES):
        return folder
    return folder_of(adapter.base, weights=False)


def own_head(adapter: Adapter) -> dict[str, Any]:
    """What a file beside an adapter says about the head that it holds; {} without one.

    The base's config describes the base's head, if it has one. Students are saved with
    `HEAD_FILE`; adapters of other programs may lie beside a config.json. PEFT writes neither.

    Raises:
        ModelError: the file is not a JSON object.
    """
    places = [adapter.folder / name for name in (HEAD_FILE, CONFIG)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return {}
    try:
        values = json.loads(file.read_text())
        return {key: values[key] for key in HEAD_KEYS if values.get(key) is not None}
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"{file} does not describe a head: {first_line(error)}",
            "copy it again, or remove it: the adapter's head then has no names",
        ) from None


def _read_config(folder: Path) -> Mapping[str, Any]:
    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        raise ModelError(
            f"{folder} has the weights of an adapter but no {ADAPTER_CONFIG}",
            "copy the adapter's folder again, with all of its files",
        )
    again = "save the adapter again with PEFT's save_pretrained"
    try:
        values = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file} is not JSON: {first_line(error)}", again) from None
    for key in ("peft_type", "base_model_name_or_path"):
        if not isinstance(values, dict) or not isinstance(values.get(key), str) or not values[key]:
            raise ModelError(f"{file} does not set {key}", f"add it, or {again}")
    found: Mapping[str, Any] = values
    return found


def _require_mergeable(folder: Path, kind: str) -> None:
    if kind not in MERGEABLE:
        raise ModelError(
            f"{folder} is a PEFT adapter of kind {kind}, which cannot be merged into weights",
            f"use one of {', '.join(MERGEABLE)}; or name a whole model",
        )
    if find_spec("peft") is None:
        raise ModelError(
            f"{folder} is a PEFT adapter ({kind}), and the package peft is not installed",
            "pip install 'flexkd[peft]', on every machine of the cluster; or merge the adapter "
            "with PEFT's merge_and_unload and name the folder that this model is saved to",
        )


def _find_base(folder: Path, values: Mapping[str, Any]) -> Source:
    """The base: a folder relative to the adapter's or to one above it, else as `locate` finds it.

    PEFT writes the path that the base was loaded from, which is often relative to a project's
    folder. The current directory is not searched: workers have another one.
    """
    name, revision = str(values[_BASE]), values.get("revision")
    path = Path(name).expanduser()
    if not name.startswith(PACKAGE):
        for above in (folder, *folder.parents):
            if (place := above / path).is_dir() and place.resolve() != folder:
                return place.resolve()
    try:
        if path.is_absolute() or name.startswith((".", "~")):
            raise ModelError("it does not exist", "")
        return locate(f"{name}@{revision}" if revision else name)
    except ModelError as error:
        raise ModelError(
            f"{_describe(folder, name, None)}: {error.message}",
            f"correct {_BASE} in {folder / ADAPTER_CONFIG}: an absolute path, one relative to the "
            f"adapter's folder, {PACKAGE}NAME or a name on the Hugging Face hub",
        ) from None


def _describe(folder: Path, name: str, base: Source | None) -> str:
    text = f"{folder} is a PEFT adapter of {name!r}"
    if isinstance(base, Path):
        return f"{text} (found at {base})"
    if name.startswith(PACKAGE):
        return text
    where = Path(name).expanduser()
    looked = f"{folder / where}" + ("" if where.is_absolute() else ", or below a folder above")
    return f"{text}, and there is no folder {looked}"
