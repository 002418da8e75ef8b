"""Quantised models: dequantised to the values that their format means, or refused with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from flexkd_platform.model_info import quantised
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import (
    build_student,
    check_model,
    load_encoder,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    save_model,
)
from flexkd_platform.spec import SlicedInit

from .conftest import same

LAYER = "model.layers.1.mlp.up_proj"


def only_problem(folder: Path | str) -> str:
    facts, problems = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    (problem,) = problems
    assert problem.path == "teacher.model"
    assert problem.remedy
    return str(problem)


def rewrite(folder: Path, config: dict[str, Any] | None, weights: dict[str, Tensor]) -> Path:
    file = folder / "config.json"
    values = json.loads(file.read_text())
    values.pop("quantization_config", None)
    file.write_text(json.dumps(values | ({"quantization_config": config} if config else {})))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def linears(weights: dict[str, Tensor]) -> list[str]:
    return [name for name in weights if "_proj.weight" in name]


INT8 = {"quant_method": "bitsandbytes", "load_in_8bit": True}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [8, 8]}


def to_int8(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Vector-wise int8, as LLM.int8 (arXiv:2208.07339): W = q · SCB / 127, SCB by row."""
    weights = load_file(folder / "model.safetensors")
    plain = dict(weights)
    for name in linears(weights):
        scale_R = weights[name].abs().amax(dim=1)
        whole = torch.round(weights[name] / scale_R[:, None] * 127).to(torch.int8)
        module = name.removesuffix(".weight")
        weights |= {name: whole, f"{module}.SCB": scale_R}
        weights[f"{module}.weight_format"] = torch.tensor(0, dtype=torch.uint8)
        plain[name] = whole.double() * scale_R[:, None].double() / 127
    return rewrite(folder, INT8, weights), plain


def to_fp8(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Blocks of 8 × 8 in float8_e4m3fn, whose largest value is 448: W = q · scale_inv."""
    weights = load_file(folder / "model.safetensors")
    plain = dict(weights)
    for name in linears(weights):
        rows, columns = (size // 8 for size in weights[name].shape)
        blocks = weights[name].reshape(rows, 8, columns, 8)
        scale = blocks.abs().amax(dim=(1, 3), keepdim=True) / 448
        small = (blocks / scale).to(torch.float8_e4m3fn)
        plain[name] = (small.double() * scale.double()).reshape(weights[name].shape)
        weights |= {
            name: small.reshape(weights[name].shape),
            f"{name}_scale_inv": scale[:, 0, :, 0],
        }
    return rewrite(folder, FP8, weights), plain


def to_nf4(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """NF4 with bitsandbytes itself, and its own dequantisation."""
    functional = pytest.importorskip("bitsandbytes.functional")
    settings = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=settings, device_map={"": "cpu"}
        )
        model.save_pretrained(folder)
    plain = {
        name: functional.dequantize_4bit(weight.data, weight.quant_state).float()
        if hasattr(weight, "quant_state")
        else weight
        for name, weight in model.named_parameters()
    }
    return folder, plain


@pytest.fixture
def base(make: Callable[..., Path]) -> Path:
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    return make("llama", name="base", language_model=True, untied=True, **sizes)


@pytest.mark.parametrize("quantise", [to_int8, to_fp8, to_nf4])
def test_it_is_dequantised_to_fp32(quantise: Any, base: Path, facts_at: Any, tokens: Any) -> None:
    if quantise is to_int8:
        pytest.importorskip("bitsandbytes")
    original = load_file(base / "model.safetensors")
    folder, plain = quantise(base)
    facts = facts_at(folder)
    assert "quantization" not in facts.config
    model = load_language_model(folder)
    found = model.state_dict()
    assert found.keys() >= original.keys()
    for name, expected in plain.items():
        # Products of fp32, against fp64: half of ε = 1.2e-7, of values below 2.
        torch.testing.assert_close(found[name], expected.float(), atol=3e-7, rtol=3e-7)
    changed = [name for name in original if not torch.equal(original[name], found[name])]
    assert sorted(changed) == sorted(linears(original))
    assert {(p.dtype, p.device.type, p.requires_grad) for p in model.parameters()} == {
        (torch.float32, "cpu", True)
    }
    model(**tokens()).logits.sum().backward()


@pytest.mark.parametrize("quantise", [to_int8, to_fp8])
def test_it_serves_in_every_role(quantise: Any, base: Path, tmp_path: Path, tokens: Any) -> None:
    pytest.importorskip("bitsandbytes")
    folder, plain = quantise(base)
    classifier = load_with_head(folder, outputs=3, regression=False, seed=0)
    assert classifier(**tokens()).logits.shape == (3, 3)
    save_model(load_language_model(folder), load_tokenizer(folder), tmp_path / "teacher")
    assert same(load_saved(tmp_path / "teacher")[0], load_language_model(folder))
    name = LAYER.removeprefix("model.")
    for body in (classifier.base_model, load_encoder(folder)):
        weight = body.get_submodule(name).weight
        torch.testing.assert_close(weight, plain[f"{LAYER}.weight"].float(), atol=1e-6, rtol=1e-6)
    init = SlicedInit(kind="sliced", layers=2, hidden_size=64)
    student = build_student(
        init, folder, outputs=0, regression=False, seed=0, dropout=None, language_model=True
    )
    save_model(student, load_tokenizer(folder), tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "quantization_config" not in saved
    again, _ = load_saved(tmp_path / "saved")
    torch.testing.assert_close(
        again(**tokens()).logits, load_language_model(folder)(**tokens()).logits
    )


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bit"),
        ({"quant_method": "awq", "w_bit": 4}, "awq, 4 bit"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "unheard"}, "unheard"),
    ],
)
def test_other_methods_are_refused(settings: dict[str, Any], shown: str, base: Path) -> None:
    rewrite(base, settings, load_file(base / "model.safetensors"))
    problem = only_problem(base)
    assert f"is quantised ({shown}), which cannot be dequantised" in problem
    assert "name the model before it was quantised" in problem


def test_the_former_key_of_compressed_tensors(base: Path) -> None:
    file = base / "config.json"
    values = json.loads(file.read_text()) | {"compression_config": {"format": "naive-quantized"}}
    file.write_text(json.dumps(values))
    assert "is quantised (compressed-tensors), which cannot be dequantised" in only_problem(base)


def test_a_missing_package_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_int8(base)
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    problem = only_problem(base)
    assert "is quantised (bitsandbytes, 8 bit)" in problem
    assert "pip install bitsandbytes accelerate" in problem


@pytest.mark.parametrize("section", ["gptq", [], {"bits": 4}])
def test_a_section_without_a_method(section: Any, base: Path) -> None:
    rewrite(base, {"x": 1}, load_file(base / "model.safetensors"))
    config = json.loads((base / "config.json").read_text()) | {"quantization_config": section}
    (base / "config.json").write_text(json.dumps(config))
    assert "quantization_config without quant_method" in only_problem(base)


@pytest.mark.parametrize(
    "kind", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_weights_without_a_config_of_their_scales(kind: torch.dtype, base: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights[f"{LAYER}.weight"] = weights[f"{LAYER}.weight"].to(kind)
    rewrite(base, None, weights)
    problem = only_problem(base)
    assert "1 weight quantised to" in problem
    assert "its config has no quantization_config" in problem
    assert LAYER in problem


@pytest.mark.parametrize(("quantise", "scale"), [(to_int8, ".SCB"), (to_fp8, ".weight_scale_inv")])
def test_weights_without_their_scale(quantise: Any, scale: str, base: Path) -> None:
    pytest.importorskip("bitsandbytes")
    quantise(base)
    weights = load_file(base / "model.safetensors")
    del weights[f"{LAYER}{scale}"]
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert f"{LAYER}.weight of {base} is quantised to" in only_problem(base)
    assert "has no scale for it" in only_problem(base)


def test_fp8_blocks_that_do_not_divide_the_weight(base: Path) -> None:
    to_fp8(base)
    weights = load_file(base / "model.safetensors")
    weights[f"{LAYER}.weight_scale_inv"] = torch.ones(7, 8)
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert "(7, 8) scales, which do not divide its shape (64, 64)" in only_problem(base)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_converted(kind: torch.dtype, base: Path, facts_at: Any) -> None:
    weights = {name: w.to(kind) for name, w in load_file(base / "model.safetensors").items()}
    rewrite(base, None, weights)
    facts_at(base)
    for name, weight in load_language_model(base).state_dict().items():
        assert torch.equal(weight, weights[name].float())


def test_integers_that_are_no_weights(make: Callable[..., Path], facts_at: Any) -> None:
    folder = make("gpt2")
    weights = load_file(folder / "model.safetensors")
    weights["h.0.attn.bias"] = torch.ones(1, 1, 20, 20, dtype=torch.uint8)  # GPT-2's causal mask
    weights["position_ids"] = torch.arange(20)[None]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    facts_at(folder)
