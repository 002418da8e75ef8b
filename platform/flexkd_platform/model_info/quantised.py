"""Quantised checkpoints: which can be dequantised as they are loaded, and with which packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..spec import counted
from .errors import ModelError

PACKAGES: dict[str, tuple[str, ...]] = {
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "fp8": ("accelerate",),
}
"""Methods that are dequantised to fp32 on load, exactly, and the packages that do it."""

_SCALES: dict[str, tuple[str, ...]] = {
    "bitsandbytes": ("{module}.SCB", "{name}.absmax"),
    "fp8": ("{name}_scale_inv", "{module}.scale", "{module}.qscale_weight"),
}
"""Names of the tensors of scales, of which each quantised weight needs one."""

_WEIGHTS = ("weight", "qweight", "weight_packed")
"""Ends of the names of weights; other tensors may well hold integers, as position ids and masks."""

_UNQUANTISED = "name the model before it was quantised"


@dataclass(frozen=True)
class Quantisation:
    """How a checkpoint is quantised.

    method: `quant_method` of its config.
    values: the whole `quantization_config`.
    """

    method: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        """`bitsandbytes, 4 bit`."""
        four, eight = (self.values.get(f"load_in_{bits}bit") for bits in (4, 8))
        bits = 4 if four else 8 if eight else self.values.get("bits", self.values.get("w_bit"))
        return f"{self.method}, {bits} bit" if bits else self.method


def quantisation_of(config: Path) -> Quantisation | None:
    """How the model of a config.json is quantised; None if it is not, or there is no such file.

    Raises:
        ModelError: the section says nothing.
    """
    try:
        values = json.loads(config.read_text())
    except (OSError, ValueError):
        return None  # reported where the config is read
    if not isinstance(values, dict):
        return None
    if values.get("compression_config") is not None:  # of early versions
        return Quantisation("compressed-tensors", values["compression_config"])
    found = values.get("quantization_config")
    if found is None:
        return None
    method = found.get("quant_method") if isinstance(found, dict) else None
    if method is None and isinstance(found, dict):
        # Older versions of transformers wrote none for bitsandbytes.
        loads = found.get("load_in_4bit") or found.get("load_in_8bit")
        method = "bitsandbytes" if loads else None
    if not isinstance(method, str):
        raise ModelError(
            f"{config} has a quantization_config without quant_method: how the model is quantised "
            "is not known",
            _UNQUANTISED,
        )
    return Quantisation(method, found)


def require_dequantised(found: Quantisation, folder: Path) -> None:
    """Raise ModelError unless a model can be dequantised here."""
    if found.method not in PACKAGES:
        raise ModelError(
            f"{folder} is quantised ({found}), which cannot be dequantised to fp32: "
            f"{' and '.join(PACKAGES)} can be",
            f"{_UNQUANTISED}, or dequantise it and save it with save_pretrained",
        )
    missing = [package for package in PACKAGES[found.method] if find_spec(package) is None]
    if missing:
        raise ModelError(
            f"{folder} is quantised ({found}), and dequantising it needs packages that are not "
            f"installed: {', '.join(missing)}",
            f"pip install {' '.join(missing)}, on every machine of the cluster; or {_UNQUANTISED}",
        )


def require_scales(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], found: Quantisation | None, folder: Path
) -> None:
    """Raise ModelError for quantised weights whose scales are not known, or that need more.

    tensors: type and shape of each tensor of the checkpoint.
    """
    if found is not None:
        require_dequantised(found, folder)
    quantised = {
        name: (kind, shape)
        for name, (kind, shape) in tensors.items()
        if name.rpartition(".")[2] in _WEIGHTS and kind not in ("F64", "F32", "F16", "BF16")
    }
    if not quantised:
        return
    name, (kind, shape) = next(iter(quantised.items()))
    count = counted(len(quantised), "weight")
    what = f"{folder} has {count} quantised to {kind}, as {name}"
    if found is None:
        raise ModelError(f"{what}, and its config has no quantization_config", _UNQUANTISED)
    for name, (kind, shape) in quantised.items():
        scale = _scale_of(name, tensors, found)
        if scale is None:
            raise ModelError(
                f"{name} of {folder} is quantised to {kind}, and the checkpoint has no scale for "
                f"it ({found})",
                f"copy it again; or {_UNQUANTISED}",
            )
        if found.method == "fp8" and not _divides(shape, tensors[scale][1]):
            raise ModelError(
                f"{name} of {folder} is quantised ({found}) with {tensors[scale][1]} scales, which "
                f"do not divide its shape {shape} into equal blocks",
                _UNQUANTISED,
            )


def _scale_of(name: str, tensors: Mapping[str, Any], found: Quantisation) -> str | None:
    module = name.rpartition(".")[0]
    names = (form.format(module=module, name=name) for form in _SCALES[found.method])
    return next((scale for scale in names if scale in tensors), None)


def _divides(shape: tuple[int, ...], scales: tuple[int, ...]) -> bool:
    return len(scales) < 2 or all(
        blocks and size % blocks == 0 for size, blocks in zip(shape, scales, strict=True)
    )
