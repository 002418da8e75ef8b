"""Weights that a config ties and a checkpoint holds twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flexkd_platform.models import check_model

EMBEDDINGS = {
    "llama": "model.embed_tokens.weight",
    "gpt2": "transformer.wte.weight",
    "bart": "model.shared.weight",
}
T5_FAMILY = {"t5": "shared.weight", "mt5": "shared.weight"}


@pytest.fixture
def twice(make: Callable[..., Path]) -> Callable[..., Path]:
    """`twice(kind, change)`: a tied model whose head is saved too, `change` away."""

    def of(kind: str, change: float) -> Path:
        folder = make(kind, language_model=True, tie_word_embeddings=True)
        file = folder / "model.safetensors"
        weights = load_file(file)
        weights["lm_head.weight"] = weights[(EMBEDDINGS | T5_FAMILY)[kind]] + change
        save_file({name: w.contiguous() for name, w in weights.items()}, file, {"format": "pt"})
        return folder

    return of


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_two_values_of_one_weight_are_refused(kind: str, twice: Any, facts_at: Any) -> None:
    folder = twice(kind, 0.5)
    facts, (problem,) = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert problem.path == "teacher.model"
    names = f"holds lm_head.weight and {EMBEDDINGS[kind]} with different values"
    assert names in problem.message
    assert "tie_word_embeddings: false" in problem.remedy


@pytest.mark.parametrize("kind", EMBEDDINGS | T5_FAMILY)
def test_one_value_may_be_saved_twice(kind: str, twice: Any, facts_at: Any) -> None:
    assert facts_at(twice(kind, 0.0)).language_model


def test_two_weights_that_are_not_tied(twice: Any, facts_at: Any) -> None:
    folder = twice("llama", 0.5)
    file = folder / "config.json"
    values = json.loads(file.read_text()) | {"tie_word_embeddings": False}
    file.write_text(json.dumps(values))
    assert facts_at(folder).language_model


@pytest.mark.parametrize("kind", T5_FAMILY)
def test_a_t5_may_have_an_output_layer_of_its_own(kind: str, twice: Any, facts_at: Any) -> None:
    """T5 v1.1 and Flan-T5 do; their config class says tied whatever the file says."""
    assert facts_at(twice(kind, 0.5)).language_model


def test_a_decoders_embedding_that_is_not_the_encoders(
    make: Callable[..., Path], facts_at: Any
) -> None:
    """Both are saved in a file without the shared one, as of a model that was edited by hand."""
    folder = make("t5", language_model=True)
    file = folder / "model.safetensors"
    weights = load_file(file)
    shared = weights["shared.weight"]
    weights["decoder.embed_tokens.weight"] = shared + torch.ones_like(shared)
    save_file(weights, file, {"format": "pt"})
    facts, (problem,) = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert "decoder.embed_tokens.weight and shared.weight" in problem.message
