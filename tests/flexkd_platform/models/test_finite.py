"""Weights that are not finite are found before anything starts, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flexkd_platform.model_info import ModelError
from flexkd_platform.models import check_model, load_language_model, load_with_head
from flexkd_platform.models.finite import require_finite

Make = Callable[..., Path]


def spoil(folder: Path, name: str, value: float) -> Path:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights[name].view(-1)[3] = value
    save_file(weights, file, {"format": "pt"})
    return folder


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "NaN"), (float("-inf"), "infinite")])
def test_a_checkpoint_with_broken_weights_is_refused(make: Make, value: float, kind: str) -> None:
    name = "encoder.layer.1.output.dense.weight"
    folder = spoil(make("bert"), name, value)
    facts, (problem,) = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert problem.path == "teacher.model"
    assert f"1 of 1,152 values of {name} is {kind}" in problem.message
    with pytest.raises(ModelError, match="are not finite"):
        load_with_head(folder, outputs=2, regression=False, seed=0)


def test_a_language_model_with_broken_weights_is_refused(make: Make) -> None:
    folder = spoil(make("gpt2", language_model=True), "transformer.wte.weight", float("nan"))
    with pytest.raises(ModelError, match="are not finite"):
        load_language_model(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_every_float_format_is_looked_at(dtype: torch.dtype) -> None:
    weight = torch.zeros(4)
    require_finite([("w", weight.to(dtype)), ("n", torch.tensor([1]))], "m")
    weight[0] = float("nan")
    with pytest.raises(ModelError, match="1 of 4 values of w is NaN, and 1 more tensor is not"):
        require_finite([("w", weight.to(dtype)), ("v", weight)], "m")
