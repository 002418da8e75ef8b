"""Layers by stack: their names, their modules, and gradients at any of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import PreTrainedModel

from flexkd_core import layer_leaf
from flexkd_platform.model_info import ModelError, ModelFacts, check_layer, resolve_layers
from flexkd_platform.models import (
    OutputRows,
    hidden_layer,
    hidden_layers,
    load_language_model,
    load_with_head,
    stacks,
)

Make = Callable[..., Path]
Facts = Callable[[Path], ModelFacts]
Batch = Callable[[str], dict[str, Tensor]]

LANGUAGE_MODELS = ["gpt2", "opt", "llama", "bart", "t5"]


def test_a_name_means_one_layer_or_one_of_each_stack(make: Make, facts_at: Facts) -> None:
    bert, bart = facts_at(make("bert")), facts_at(make("bart"))
    assert resolve_layers("last", bert) == resolve_layers(-1, bert) == (3,)
    assert resolve_layers(0, bert) == (0,)
    assert bart.stacks == (("encoder", 3), ("decoder", 2))
    assert (bart.encoder_decoder, bart.layers) == (True, 2)
    assert resolve_layers("last", bart) == ("encoder.2", "decoder.1")
    assert resolve_layers(-2, bart) == ("encoder.1", "decoder.0")
    assert resolve_layers("decoder.-1", bart) == ("decoder.1",)
    assert resolve_layers("encoder.0", bart) == ("encoder.0",)


@pytest.mark.parametrize("layer", [2, -3, "decoder.2", "encoder.-4"])
def test_what_names_no_layer_of_an_encoder_decoder(
    make: Make, facts_at: Facts, layer: int | str
) -> None:
    bart = facts_at(make("bart"))
    (problem,) = check_layer(layer, bart, path="score.layer")
    assert problem.message.startswith(f"there is no layer {layer} in a")
    assert re.fullmatch(r"layers are 0 to \d, or -1 to -\d from the end", problem.remedy)
    with pytest.raises(ModelError, match="layers"):
        resolve_layers(layer, bart)


def test_a_stack_in_a_model_of_one(make: Make, facts_at: Facts) -> None:
    (problem,) = check_layer("decoder.0", facts_at(make("gpt2")))
    assert problem.message == "the model has no decoder"
    assert problem.remedy == "give a number, for example 0"


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_stacks_of_any_head(make: Make, kind: str) -> None:
    backbone = load_with_head(make(kind), outputs=2, regression=False, seed=0)
    writer = load_language_model(make(kind, language_model=True))
    for model in (backbone, writer):
        assert {name: len(layers) for name, layers in stacks(model).items()} == {
            "encoder": 3,
            "decoder": 2,
        }
        assert hidden_layer(model, "encoder.2") is stacks(model)["encoder"][2]
        with pytest.raises(ModelError, match=r"name one of their layers, as decoder\.-1"):
            hidden_layers(model)


def test_one_stack_is_called_nothing(make: Make) -> None:
    model = load_language_model(make("gpt2", language_model=True))
    assert stacks(model) == {"": hidden_layers(model)}
    assert hidden_layer(model, 1) is hidden_layers(model)[1]


def refs_of(model: PreTrainedModel) -> list[int | str]:
    return [
        f"{name}.{place}" if name else place
        for name, layers in stacks(model).items()
        for place in range(len(layers))
    ]


def label_logprob(logits_NV: Tensor) -> Tensor:
    """Log-probability of word 7 at every row, summed."""
    return log_softmax(logits_NV, dim=-1)[:, 7].sum()


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_the_leafs_gradient_through_chosen_rows_is_the_full_graphs(
    make: Make, batch_of: Batch, kind: str
) -> None:
    model = load_language_model(make(kind, language_model=True), dropout=0.0)
    batch = batch_of(kind)
    rows_BT = torch.zeros_like(batch.get("decoder_input_ids", batch["input_ids"])).bool()
    rows_BT[0, 2:] = rows_BT[2, 1] = True
    for ref in refs_of(model):
        kept: list[Tensor] = []

        def keep(module: object, inputs: object, output: object, kept: list[Tensor] = kept) -> None:
            hidden_BTD = output[0] if isinstance(output, tuple) else output
            assert isinstance(hidden_BTD, Tensor)
            hidden_BTD.retain_grad()
            kept.append(hidden_BTD)

        handle = hidden_layer(model, ref).register_forward_hook(keep)
        torch.autograd.backward(label_logprob(model(**batch).logits[rows_BT]))
        handle.remove()
        expected_BTD = kept[0].grad
        assert expected_BTD is not None
        assert expected_BTD.any()

        with (
            OutputRows(model) as output,
            torch.no_grad(),
            layer_leaf(hidden_layer(model, ref)) as leaf,
        ):
            output.rows_BT = rows_BT
            value = label_logprob(model(**batch).logits)
            (gradient_BTD,) = torch.autograd.grad(value, leaf.hidden_BTD)
        torch.testing.assert_close(gradient_BTD, expected_BTD, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_layers_put_out_the_models_hidden_states(make: Make, batch_of: Batch, kind: str) -> None:
    model = load_language_model(make(kind, language_model=True), dropout=0.0)
    with torch.no_grad():
        output = model(**batch_of(kind), output_hidden_states=True)
        for name, layers in stacks(model).items():
            states = output[f"{name}_hidden_states" if name else "hidden_states"]
            # The last of transformers' hidden states may have passed a norm after the last layer.
            for layer, expected_BTD in zip(layers[:-1], states[1:-1], strict=True):
                with layer_leaf(layer, graph=False) as leaf:
                    model(**batch_of(kind))
                assert torch.equal(leaf.hidden_BTD, expected_BTD)
