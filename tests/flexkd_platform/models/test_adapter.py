"""PEFT adapters: the merged model computes what PEFT computes, and one problem for each fault."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from flexkd_platform.model_info import ModelError, ModelFacts
from flexkd_platform.model_info import adapter as adapters
from flexkd_platform.model_info.adapter import MERGEABLE
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import (
    check_model,
    load_encoder,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    save_model,
)

from .conftest import same

peft = pytest.importorskip("peft")

SETTINGS: dict[str, dict[str, Any]] = {
    "LORA": {"r": 2, "lora_alpha": 6},
    "ADALORA": {"init_r": 3, "target_r": 2, "total_step": 10, "tfinal": 2, "tinit": 1},
    "LOHA": {"r": 2, "alpha": 3},
    "LOKR": {"r": 2, "alpha": 3},
    "IA3": {"feedforward_modules": []},
    "OFT": {"r": 0, "oft_block_size": 4},
    "HRA": {"r": 2},
    "FOURIERFT": {"n_frequency": 8},
}


def drawn(model: Any) -> None:
    """Random values in all weights of the adapter, which begin with no effect."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "original_module" not in name:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.2, generator=generator))


def save_adapter(
    base: Path,
    folder: Path,
    kind: str = "LORA",
    *,
    auto: Any = AutoModelForCausalLM,
    named: str | None = None,
    **settings: Any,
) -> Any:
    """Save an adapter with random weights; returns PEFT's model, in eval mode."""
    with quiet():
        model = auto.from_pretrained(base, dtype=torch.float32)
    if auto is AutoModelForSequenceClassification:
        model.config.pad_token_id = 0
    config = peft.get_peft_config(
        {"peft_type": kind, "target_modules": ["q_proj", "v_proj"], **SETTINGS[kind], **settings}
    )
    torch.manual_seed(1)
    wrapped = peft.get_peft_model(model, config)
    drawn(wrapped)
    wrapped.save_pretrained(folder)
    edit(folder, base_model_name_or_path=named or str(base))
    return wrapped.eval()


def edit(folder: Path, **values: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def only_problem(folder: Path | str) -> str:
    facts, problems = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    (problem,) = problems
    assert problem.path == "teacher.model"
    assert problem.remedy
    return str(problem)


@pytest.fixture
def base(make: Callable[..., Path]) -> Path:
    return make("llama", name="base", language_model=True)


@pytest.mark.parametrize("kind", MERGEABLE)
def test_the_merged_model_is_the_adapted_one(
    kind: str, base: Path, tmp_path: Path, facts_at: Any, tokens: Any
) -> None:
    adapted = save_adapter(base, tmp_path / "adapter", kind)
    facts_at(tmp_path / "adapter")
    merged = load_language_model(tmp_path / "adapter")
    plain = load_language_model(base)
    with torch.no_grad():
        expected, found = adapted(**tokens()).logits, merged(**tokens()).logits
        assert not torch.allclose(plain(**tokens()).logits, expected, atol=1e-2)
    # Merged in fp32 of ε = 1.2e-7; logits here are below 10, and a sum has 16 or 32 products.
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    assert {p.dtype for p in merged.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in merged.parameters())
    assert list(merged.state_dict()) == list(plain.state_dict())
    save_model(merged, load_tokenizer(base), tmp_path / "saved")
    assert not (tmp_path / "saved" / "adapter_config.json").exists()
    assert same(load_saved(tmp_path / "saved")[0], merged)


def test_lora_is_w_plus_alpha_over_r_b_a(base: Path, tmp_path: Path) -> None:
    save_adapter(base, tmp_path / "adapter")
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    merged = load_language_model(tmp_path / "adapter").state_dict()
    for name, weight in load_language_model(base).state_dict().items():
        part = f"base_model.model.{name.removesuffix('.weight')}.lora"
        change = torch.zeros(())
        if f"{part}_A.weight" in weights:  # LoRA, arXiv:2106.09685: h = W x + (α / r) B A x
            change = 6 / 2 * weights[f"{part}_B.weight"] @ weights[f"{part}_A.weight"]
        torch.testing.assert_close(merged[name], weight + change, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"v_proj": 1}},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [0, 2]},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"lora_bias": True, "target_modules": ["q_proj"]},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_every_setting_of_lora_counts(
    settings: dict[str, Any], base: Path, tmp_path: Path, facts_at: Any, tokens: Any
) -> None:
    if "lora_bias" in settings:
        base = biased(base, tmp_path)
    adapted = save_adapter(base, tmp_path / "adapter", **settings)
    facts_at(tmp_path / "adapter")
    merged = load_language_model(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(
            merged(**tokens()).logits, adapted(**tokens()).logits, atol=2e-5, rtol=2e-5
        )


def biased(base: Path, tmp_path: Path) -> Path:
    """The same model with biases in its attention."""
    folder = Path(shutil.copytree(base, tmp_path / "biased"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_bias": True}))
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "_proj.weight" in name and "self_attn" in name]:
        weights[name.replace("weight", "bias")] = torch.ones(len(weights[name]))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_gpt2_has_transposed_weights(make: Any, tmp_path: Path, facts_at: Any, tokens: Any) -> None:
    base = make("gpt2", name="base", language_model=True)
    adapted = save_adapter(base, tmp_path / "adapter", target_modules=["c_attn"])
    facts_at(tmp_path / "adapter")
    with torch.no_grad():
        found = load_language_model(tmp_path / "adapter")(**tokens()).logits
        torch.testing.assert_close(found, adapted(**tokens()).logits, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("outputs", [3, 2])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_classifier_has_the_adapters_head(
    kind: str, outputs: int, make: Any, tmp_path: Path, facts_at: Any, tokens: Any
) -> None:
    base = make(kind, name="base", head=3)
    target = ["query", "value"] if kind == "bert" else ["q_proj"]
    adapted = save_adapter(
        base,
        tmp_path / "adapter",
        auto=AutoModelForSequenceClassification,
        target_modules=target,
        task_type="SEQ_CLS",
    )
    assert facts_at(tmp_path / "adapter").outputs == 3
    model = load_with_head(tmp_path / "adapter", outputs=outputs, regression=False, seed=0)
    if outputs == 3:
        with torch.no_grad():
            expected = adapted(**tokens()).logits
        torch.testing.assert_close(model(**tokens()).logits, expected, atol=2e-5, rtol=2e-5)
    else:  # a new head, on the adapted backbone
        body = adapted.merge_and_unload().base_model.state_dict()
        for name, weight in model.base_model.state_dict().items():
            torch.testing.assert_close(weight, body[name])
        assert model(**tokens()).logits.shape == (3, 2)


def test_an_adapter_of_a_language_model_serves_a_classifier(base: Path, tmp_path: Path) -> None:
    adapted = save_adapter(base, tmp_path / "adapter", modules_to_save=["lm_head"])
    model = load_with_head(tmp_path / "adapter", outputs=2, regression=False, seed=0)
    body = adapted.merge_and_unload().base_model.state_dict()
    for name, weight in model.base_model.state_dict().items():
        torch.testing.assert_close(weight, body[name])


def test_an_adapter_of_a_backbone(make: Any, tmp_path: Path, facts_at: Any, tokens: Any) -> None:
    base = make("bert", name="base")
    adapted = save_adapter(base, tmp_path / "adapter", auto=AutoModel, target_modules=["query"])
    facts_at(tmp_path / "adapter")
    with torch.no_grad():
        expected = adapted(**tokens()).last_hidden_state
        found = load_encoder(tmp_path / "adapter")(**tokens()).last_hidden_state
        model = load_with_head(tmp_path / "adapter", outputs=2, regression=False, seed=0)
        inside = model.base_model(**tokens()).last_hidden_state
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(inside, expected, atol=2e-5, rtol=2e-5)


def test_a_pickled_adapter_is_read_as_tensors_alone(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    expected = load_language_model(folder).state_dict()
    weights = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(weights, folder / "adapter_model.bin")
    for name, weight in load_language_model(folder).state_dict().items():
        assert torch.equal(weight, expected[name])
    torch.save({"weight": print}, folder / "adapter_model.bin")
    assert "adapter_model.bin cannot be read" in only_problem(folder)
    torch.save({"x": 1}, folder / "adapter_model.bin")
    assert "it holds other things than tensors" in only_problem(folder)


def test_the_base_is_relative_to_the_adapter_or_a_folder_above(
    base: Path, tmp_path: Path, facts_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "a" / "adapter"
    save_adapter(base, folder)
    expected = facts_at(folder).fingerprint
    for name in ("../../../base", "base"):
        edit(folder, base_model_name_or_path=name)
        # The path of a base is not part of the model.
        assert facts_at(folder).fingerprint == expected
    monkeypatch.chdir("/")
    assert facts_at(folder).fingerprint == expected
    inside = Path(shutil.copytree(base, folder / "base"))
    edit(folder, base_model_name_or_path="base")
    found = adapters.adapter_of(folder)
    assert found is not None
    assert found.base == inside


def test_a_missing_base_is_named(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder, named="bases/other")
    problem = only_problem(folder)
    assert "is a PEFT adapter of 'bases/other'" in problem
    assert str(folder / "bases/other") in problem
    edit(folder, base_model_name_or_path="/nowhere/base")
    problem = only_problem(folder)
    assert "adapter of '/nowhere/base', and there is no folder /nowhere/base" in problem
    edit(folder, base_model_name_or_path="package:no_such_package")
    assert "'no_such_package' is not installed" in only_problem(folder)
    edit(folder, base_model_name_or_path="")
    assert "does not set base_model_name_or_path" in only_problem(folder)


def test_problems_of_the_base_name_the_adapter(base: Path, tmp_path: Path) -> None:
    save_adapter(base, tmp_path / "adapter")
    (base / "model.safetensors").write_bytes(b"cut off")
    problem = only_problem(tmp_path / "adapter")
    assert f"{tmp_path / 'adapter'} is a PEFT adapter of" in problem
    assert f"{base / 'model.safetensors'} is not a safetensors file" in problem


def test_beside_the_weights_of_a_model_it_is_refused(base: Path, tmp_path: Path) -> None:
    save_adapter(base, tmp_path / "adapter")
    shutil.copytree(base, tmp_path / "adapter", dirs_exist_ok=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert f"and a PEFT adapter ({name})" in only_problem(tmp_path / "adapter")
        os.remove(tmp_path / "adapter" / name)
    assert check_model(str(tmp_path / "adapter"), None, path="teacher.model")[1] == []


def test_incomplete_adapters(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    text = config.read_text()
    for broken, message in (("{", "is not JSON"), ("[]", "does not set peft_type")):
        config.write_text(broken)
        assert message in only_problem(folder)
    config.unlink()
    assert "but no adapter_config.json" in only_problem(folder)
    config.write_text(text)
    weights.write_bytes(weights.read_bytes()[:100])
    assert "adapter_model.safetensors cannot be read" in only_problem(folder)
    weights.unlink()
    assert "no weights of an adapter" in only_problem(folder)


def test_an_adapter_that_is_not_finite_is_refused(base: Path, tmp_path: Path) -> None:
    """When it is checked, and when it is loaded: what is merged counts, not the base alone."""
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "lora_A" in name)
    weights[name][0, 0] = float("nan")
    save_file(weights, file)
    message = only_problem(folder)
    assert f"values of {name} is NaN" in message
    assert str(folder) in message
    with pytest.raises(ModelError, match="are not finite"):
        load_language_model(folder)
    with pytest.raises(ModelError, match="are not finite"):
        load_with_head(folder, outputs=2, regression=False, seed=1)


def test_an_adapter_of_another_base_is_refused(base: Path, make: Any, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    wide = make("llama", name="wide", language_model=True, num_key_value_heads=4)
    edit(folder, base_model_name_or_path=str(wide))
    assert "with another shape" in only_problem(folder)
    short = make("llama", name="short", language_model=True, num_hidden_layers=2)
    edit(folder, base_model_name_or_path=str(short))
    assert "has no place in the base" in only_problem(folder)
    other = make("gpt2", name="other", language_model=True)
    edit(folder, base_model_name_or_path=str(other))
    assert "does not fit" in only_problem(folder)
    edit(folder, base_model_name_or_path=str(base), r=3)
    assert "with another shape" in only_problem(folder)
    edit(folder, r=2, target_modules=["q_proj"])
    assert "has no place in the base" in only_problem(folder)
    edit(folder, target_modules=["q_proj", "v_proj", "k_proj"])
    assert "is missing" in only_problem(folder)


def test_what_cannot_be_merged_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    edit(folder, peft_type="PREFIX_TUNING")
    assert "of kind PREFIX_TUNING, which cannot be merged" in only_problem(folder)
    tied = tmp_path / "tied"
    base_tied = Path(shutil.copytree(base, tmp_path / "base_tied"))
    config = json.loads((base / "config.json").read_text()) | {"tie_word_embeddings": True}
    (base_tied / "config.json").write_text(json.dumps(config))
    weights = load_file(base / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, base_tied / "model.safetensors", {"format": "pt"})
    save_adapter(base_tied, tied, target_modules=["lm_head"])
    assert "which the base ties to another weight" in only_problem(tied)


def test_an_adapter_of_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    save_adapter(base, tmp_path / "first")
    save_adapter(base, tmp_path / "second", named=str(tmp_path / "first"))
    assert "which is an adapter itself" in only_problem(tmp_path / "second")


def test_without_peft_it_is_refused_with_the_remedy(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_adapter(base, tmp_path / "adapter")
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    problem = only_problem(tmp_path / "adapter")
    assert "the package peft is not installed" in problem
    assert "pip install 'flexkd[peft]'" in problem


def test_its_own_tokenizer_comes_first(base: Path, tmp_path: Path, facts_at: Any) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    before: ModelFacts = facts_at(folder)
    tokenizer = load_tokenizer(base)
    tokenizer.add_special_tokens({"pad_token": "film"})
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(folder).pad_token == "film"
    assert facts_at(folder).tokenizer_digest != before.tokenizer_digest
    tokenizer.add_tokens([f"word{number}" for number in range(9)])
    tokenizer.save_pretrained(folder)
    assert "words and the model embeds" in only_problem(folder)


def test_the_fingerprint_is_of_base_adapter_and_settings(
    base: Path, tmp_path: Path, facts_at: Any
) -> None:
    folder = tmp_path / "adapter"
    save_adapter(base, folder)
    seen = {facts_at(base).fingerprint, facts_at(folder).fingerprint}
    edit(folder, lora_alpha=7)
    seen.add(facts_at(folder).fingerprint)
    weights = load_file(folder / "adapter_model.safetensors")
    first = next(iter(weights))
    save_file({**weights, first: weights[first] + 1}, folder / "adapter_model.safetensors")
    seen.add(facts_at(folder).fingerprint)
    of_base = load_file(base / "model.safetensors")
    name = next(iter(of_base))
    save_file({**of_base, name: of_base[name] + 1}, base / "model.safetensors", {"format": "pt"})
    seen.add(facts_at(folder).fingerprint)
    assert len(seen) == 5
