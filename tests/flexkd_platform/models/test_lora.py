"""Students with an adapter: what is trained, what is saved, and that it is the same model again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from flexkd_platform.model_info.errors import ModelError
from flexkd_platform.models import (
    add_lora,
    base_source,
    check_lora,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
)
from flexkd_platform.models.lora import linear_layers, target_modules
from flexkd_platform.spec import Lora

from ..tiny_models import saved

peft = pytest.importorskip("peft")

LANGUAGE = ["gpt2", "opt", "llama", "bart", "t5"]
CLASSIFIERS = ["bert", "distilbert", "gpt2", "llama"]


def trained(student: Any) -> Any:
    """Random values in everything that is trained."""
    with torch.no_grad():
        for parameter in student.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.1))
    return student.model.eval()


@pytest.fixture
def base(make: Callable[..., Path]) -> Callable[[str, bool], tuple[Path, Any]]:
    """`base(kind, language)`: a folder and the model in it, with a head of three outputs."""

    def of(kind: str, language: bool) -> tuple[Path, Any]:
        if language:
            folder = make(kind, name="base", language_model=True)
            return folder, load_language_model(folder)
        folder = make(kind, name="base", head=3)
        return folder, load_with_head(folder, outputs=3, regression=False, seed=0)

    return of


CASES = [(kind, True) for kind in LANGUAGE] + [(kind, False) for kind in CLASSIFIERS]


@pytest.mark.parametrize(("kind", "language"), CASES)
def test_it_begins_as_the_model_and_trains_the_adapter_alone(
    kind: str, language: bool, base: Any, batch_of: Any
) -> None:
    _, model = base(kind, language)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        expected = model(**batch_of(kind)).logits
    state = torch.get_rng_state()
    student = add_lora(model, Lora(r=2, alpha=4), seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert student.parameters() == sum(w.numel() for n, w in model_parameters(before, kind).items())
    with torch.no_grad():
        torch.testing.assert_close(model(**batch_of(kind)).logits, expected)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    heads = {"bert": ["bert.pooler", "classifier"], "distilbert": ["classifier", "pre_classifier"]}
    allowed = [] if language else heads.get(kind, ["score"])
    assert list(student.whole) == allowed
    assert all(".lora_" in name or name.startswith(tuple(allowed)) for name in names)
    assert student.trainable() == sum(p.numel() for p in model.parameters() if p.requires_grad)
    adapted = {name.partition(".lora_")[0] for name in names if ".lora_" in name}
    assert len(adapted) == len([name for name in before if name.removesuffix(".weight") in adapted])


def model_parameters(state: dict[str, Any], kind: str) -> dict[str, Any]:
    """A state without buffers and without second names of tied weights."""
    seen: dict[int, str] = {}
    found = {}
    for name, weight in state.items():
        if name in ("lm_head.weight", "final_logits_bias") or name.endswith("embed_tokens.weight"):
            continue
        found[name] = weight
        seen[id(weight)] = name
    if kind in ("opt", "llama"):
        found |= {name: w for name, w in state.items() if name.endswith("embed_tokens.weight")}
    if kind == "llama" and "lm_head.weight" in state:
        found["lm_head.weight"] = state["lm_head.weight"]
    return found


@pytest.mark.parametrize("within", [True, False], ids=["base inside", "base elsewhere"])
@pytest.mark.parametrize(("kind", "language"), CASES)
def test_an_exported_adapter_is_the_student(
    kind: str, language: bool, within: bool, base: Any, batch_of: Any, tmp_path: Path
) -> None:
    folder, model = base(kind, language)
    student = add_lora(model, Lora(r=2, alpha=4), seed=5)
    trained(student)
    with torch.no_grad():
        expected = model(**batch_of(kind)).logits
    out = tmp_path / "student"
    student.save(load_tokenizer(folder), out, None if within else base_source(folder))
    assert not (out / "model.safetensors").exists()
    assert (out / "base" / "model.safetensors").exists() == within
    merged, _ = load_saved(out)
    with torch.no_grad():
        found = merged(**batch_of(kind)).logits
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)

    # PEFT itself, on the base as transformers loads it.
    auto = AutoModelForSequenceClassification
    if language:
        auto = AutoModelForCausalLM if kind in ("gpt2", "opt", "llama") else type(merged)
    plain = auto.from_pretrained(out / "base" if within else folder, dtype=torch.float32)
    plain.config.pad_token_id = merged.config.pad_token_id
    again = peft.PeftModel.from_pretrained(plain, out).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**batch_of(kind)).logits, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("kind", "language"), CASES)
def test_a_merged_student_is_a_model_like_any_other(
    kind: str, language: bool, base: Any, batch_of: Any
) -> None:
    _, model = base(kind, language)
    names = set(model.state_dict())
    student = add_lora(model, Lora(r=2, alpha=4), seed=5)
    trained(student)
    with torch.no_grad():
        expected = model(**batch_of(kind)).logits
        merged = student.merge()
        found = merged(**batch_of(kind)).logits
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    assert set(merged.state_dict()) == names


def test_equal_students_have_equal_files(base: Any, tmp_path: Path) -> None:
    folder, _ = base("llama", True)
    files = []
    for place in ("a", "b"):
        student = add_lora(load_language_model(folder), Lora(), seed=5)
        student.save(load_tokenizer(folder), tmp_path / place, folder)
        kept = sorted((tmp_path / place).iterdir())
        files.append({file.name: file.read_bytes() for file in kept})
    assert files[0] == files[1]
    other = add_lora(load_language_model(folder), Lora(), seed=6)
    other.save(load_tokenizer(folder), tmp_path / "c", folder)
    weights = [load_file(tmp_path / place / "adapter_model.safetensors") for place in ("a", "c")]
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_config_has_the_settings_of_the_spec(base: Any, tmp_path: Path) -> None:
    folder, model = base("llama", True)
    lora = Lora(r=3, alpha=5, dropout=0.25, target=("q_proj", "mlp.up_proj"))
    student = add_lora(model, lora, seed=5)
    student.save(load_tokenizer(folder), tmp_path / "student", folder)
    values = json.loads((tmp_path / "student" / "adapter_config.json").read_text())
    assert (values["r"], values["lora_alpha"], values["lora_dropout"]) == (3, 5, 0.25)
    assert values["base_model_name_or_path"] == str(folder)
    assert values["task_type"] == "CAUSAL_LM"
    weights = load_file(tmp_path / "student" / "adapter_model.safetensors")
    assert {name.partition(".lora_")[0].split(".layers.")[1] for name in weights} == {
        f"{layer}.{part}" for layer in range(3) for part in ("self_attn.q_proj", "mlp.up_proj")
    }


def test_targets_are_linear_modules_of_the_layers(make: Any, facts_at: Any) -> None:
    folder = make("bert", head=3)
    model = load_with_head(folder, outputs=3, regression=False, seed=0)
    names = linear_layers(model)
    assert len(names) == 4 * 6  # query, key, value, output, and two of the feed-forward part
    assert not any("pooler" in name or "classifier" in name for name in names)
    assert target_modules(model, ("output.dense",)) == [n for n in names if "output.dense" in n]
    with pytest.raises(ModelError, match="'q_proj' is not a linear module"):
        target_modules(model, ("query", "q_proj"))
    facts = facts_at(folder)
    assert check_lora(Lora(target=("query",)), facts) == (facts, [])
    found, problems = check_lora(Lora(target=("query", "q_proj", "pooler.dense")), facts)
    assert found is None
    assert [problem.path for problem in problems] == [
        "student.lora.target[1]",
        "student.lora.target[2]",
    ]
    assert "attention.self.query" in problems[0].remedy


def test_a_base_that_is_an_adapter_is_saved_with_the_student(base: Any, tmp_path: Path) -> None:
    folder, model = base("llama", True)
    assert base_source(folder) == folder
    add_lora(model, Lora(), seed=5).save(load_tokenizer(folder), tmp_path / "first", folder)
    assert base_source(tmp_path / "first") is None


# --- architectures without an entry --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["falcon", "gptj", "bloom"])
def test_a_discovered_language_model(kind: str, tokens: Any, facts_at: Any, tmp_path: Path) -> None:
    batch = tokens()
    folder = saved(tmp_path / "base", kind, AutoModelForCausalLM)
    assert check_lora(Lora(), facts_at(folder))[1] == []
    student = add_lora(load_language_model(folder), Lora(r=2, alpha=4), seed=5)
    model = trained(student)
    with torch.no_grad():
        expected = model(**batch).logits
    student.save(load_tokenizer(folder), tmp_path / "adapter", folder)
    again, _ = load_saved(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, expected, rtol=1e-4, atol=1e-5)


def test_what_peft_refuses_of_a_discovered_model(facts_at: Any, tmp_path: Path) -> None:
    facts = facts_at(saved(tmp_path, "mamba", AutoModelForCausalLM))
    found, (problem,) = check_lora(Lora(), facts)
    assert found is None
    assert problem.path == "student.lora.target"
    assert "PEFT makes no such adapter of a mamba model" in problem.message
    assert check_lora(Lora(target=("in_proj",)), facts) == (facts, [])
