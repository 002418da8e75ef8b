"""Weights that are NaN or infinite, which no training recovers from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..model_info.checkpoint import gguf_of, weight_files
from ..model_info.errors import ModelError
from ..spec import be, counted


def require_finite(weights: Iterable[tuple[str, Tensor]], model: str) -> None:
    """Reject a model with weights that are not finite.

    Raises:
        ModelError: names the first tensor, and how many of its values are not finite.
    """
    broken = [(name, *found) for name, weight in weights if (found := _broken(weight))]
    if not broken:
        return
    name, kind, count, total = broken[0]
    others = counted(len(broken) - 1, "more tensor")
    more = f", and {others} {be(len(broken) - 1)} not finite" if len(broken) > 1 else ""
    raise ModelError(
        f"the weights of {model} are not finite: {count:,} of {total:,} values of {name} "
        f"{be(count)} {kind}{more}",
        "the checkpoint is broken: copy it again, or train the model again",
    )


def require_finite_files(folder: Path) -> None:
    """Reject a checkpoint whose safetensors files hold weights that are not finite.

    One tensor is in memory at a time. GGUF files are checked when the model is loaded.

    Raises:
        ModelError: as `require_finite`.
    """
    if gguf_of(folder) is None:
        require_finite(_tensors(folder), str(folder))


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # not a mapping
                # A buffer that masks logits may be -inf.
                if not name.endswith(("final_logits_bias", "masked_bias")):
                    yield name, tensors.get_tensor(name)


def _broken(weight: Tensor) -> tuple[str, int, int] | None:
    """`NaN` or `infinite`, the number of such values, and of all; None if all are finite."""
    if not weight.is_floating_point() or weight.is_meta:
        return None
    # Formats of one byte have no isfinite.
    values = weight.detach().float() if weight.element_size() == 1 else weight.detach()
    count = values.numel() - int(torch.isfinite(values).sum())
    if not count:
        return None
    return "NaN" if bool(values.isnan().any()) else "infinite", count, values.numel()
