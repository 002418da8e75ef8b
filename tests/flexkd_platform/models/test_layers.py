"""Layers by stack: their names, their modules, and gradients at any of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import AutoConfig, OPTConfig, OPTForCausalLM, PreTrainedModel

from flexkd_core import layer_leaf, unit_importance
from flexkd_platform.model_info import (
    ModelError,
    ModelFacts,
    check_layer,
    family_of,
    resolve_layers,
)
from flexkd_platform.model_info.families import final_norm
from flexkd_platform.models import (
    HiddenStateHook,
    OutputRows,
    hidden_layer,
    hidden_layers,
    load_language_model,
    load_with_head,
    stacks,
)
from flexkd_platform.plan import StackShape, stack_of

Make = Callable[..., Path]
Facts = Callable[[Path], ModelFacts]
Batch = Callable[[str], dict[str, Tensor]]
Tokens = Callable[..., dict[str, Tensor]]

LANGUAGE_MODELS = ["gpt2", "opt", "llama", "bart", "t5"]


def test_a_name_means_one_layer_or_one_of_each_stack(make: Make, facts_at: Facts) -> None:
    bert, bart = facts_at(make("bert")), facts_at(make("bart"))
    assert resolve_layers("last", bert) == resolve_layers(-1, bert) == (3,)
    assert resolve_layers(0, bert) == (0,)
    assert bart.stacks == (
        StackShape("encoder", 3, final_norm=False),
        StackShape("decoder", 2, final_norm=False),
    )
    assert (bart.encoder_decoder, bart.layers) == (True, 2)
    assert resolve_layers("last", bart) == ("encoder.2", "decoder.1")
    assert resolve_layers(-2, bart) == ("encoder.1", "decoder.0")
    assert resolve_layers("decoder.-1", bart) == ("decoder.1",)
    assert resolve_layers("encoder.0", bart) == ("encoder.0",)


NORMED = {"gpt2", "opt", "llama", "t5"}
ARCHITECTURES = ["bert", "distilbert", "gpt2", "opt", "llama", "bart", "t5"]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_last_is_named_where_a_norm_follows_the_last_block(
    make: Make, facts_at: Facts, kind: str
) -> None:
    facts = facts_at(make(kind))
    assert {stack.final_norm for stack in facts.stacks} == {kind in NORMED}
    refs = resolve_layers("last", facts)
    assert (refs == resolve_layers(-1, facts)) == (kind not in NORMED)
    if kind in NORMED:
        assert refs == (("encoder.last", "decoder.last") if kind == "t5" else ("last",))


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
    normed = model.config.model_type in NORMED
    return [
        f"{name}.{place}" if name else place
        for name, layers in stacks(model).items()
        for place in [*range(len(layers)), *(["last"] if normed else [])]
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
            for layer, expected_BTD in zip(layers[:-1], states[1:-1], strict=True):
                with layer_leaf(layer, graph=False) as leaf:
                    model(**batch_of(kind))
                assert torch.equal(leaf.hidden_BTD, expected_BTD)


def states_of(output: object, name: str) -> tuple[Tensor, ...]:
    key = f"{name}_hidden_states" if name else "hidden_states"
    states: tuple[Tensor, ...] = getattr(output, key)
    return states


@pytest.mark.parametrize(
    ("kind", "text"),
    [*((kind, False) for kind in ARCHITECTURES), *((kind, True) for kind in LANGUAGE_MODELS)],
)
def test_last_is_the_last_of_hugging_faces_hidden_states(
    make: Make, facts_at: Facts, batch_of: Batch, tokens: Tokens, kind: str, text: bool
) -> None:
    """Bit for bit, of a language model and of a classifier, tapped for features and for scores."""
    folder = make(kind, language_model=text)
    model = (
        load_language_model(folder, dropout=0.0)
        if text
        else load_with_head(folder, outputs=2, regression=False, seed=0, dropout=0.0)
    )
    batch = batch_of(kind) if text else tokens()
    if not text:
        batch["input_ids"][:, -1] = 1  # BART and T5 read the end of a text
    for ref in resolve_layers("last", facts_at(folder)):
        module = hidden_layer(model, ref)
        with (
            torch.no_grad(),
            HiddenStateHook(module) as tap,
            layer_leaf(module, graph=False) as leaf,
        ):
            output = model(**batch, output_hidden_states=True)
            expected_BTD = states_of(output, stack_of(ref))[-1]
            assert torch.equal(tap.take(), expected_BTD)
            assert torch.equal(leaf.hidden_BTD, expected_BTD)


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_importance_at_last_is_the_gradient_at_hugging_faces_last_hidden_state(
    make: Make, facts_at: Facts, batch_of: Batch, kind: str
) -> None:
    folder = make(kind, language_model=True)
    model = load_language_model(folder, dropout=0.0).double()
    batch = batch_of(kind)
    targets_BT = batch.get("decoder_input_ids", batch["input_ids"])
    labels_BT = torch.full_like(targets_BT, 7)
    for ref in resolve_layers("last", facts_at(folder)):
        output = model(**batch, output_hidden_states=True)
        value = output.logits.log_softmax(dim=-1)[..., 7].sum()
        (expected_BTD,) = torch.autograd.grad(value, states_of(output, stack_of(ref))[-1])
        rows_BT = torch.ones(expected_BTD.shape[:2], dtype=torch.bool)
        importance = unit_importance(
            lambda: model(**batch).logits,
            hidden_layer(model, ref),
            rows_BT,
            output="label_logprob",
            labels_B=labels_BT,
        )
        expected_BD = expected_BTD.abs().mean(dim=1)
        assert expected_BD.any()
        torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "normed"),
    [
        ({}, True),
        ({"do_layer_norm_before": False}, False),
        ({"_remove_final_layer_norm": True}, False),
        ({"word_embed_proj_dim": 8}, True),
        ({"word_embed_proj_dim": 8, "do_layer_norm_before": False}, False),
    ],
)
def test_opt_has_a_final_norm_by_its_config(changes: dict[str, object], normed: bool) -> None:
    """`last` is as wide as the blocks: before project_out, which OPT-350m has and no norm."""
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 20,
        "vocab_size": 30,
    }
    config = OPTConfig(**(sizes | changes))
    model = OPTForCausalLM(config).eval()
    ids_BT = torch.tensor([[5, 6, 7, 8]])
    (stack,) = family_of(config.model_type).stacks.values()
    assert (final_norm(config, stack) is not None) == normed
    # The facts keep the config as JSON; its keys decide there as well.
    again = AutoConfig.for_model(**json.loads(json.dumps(config.to_dict())))
    assert (final_norm(again, stack) is not None) == normed
    if not normed:
        with pytest.raises(ModelError, match="no norm follows the last layer of this opt model"):
            hidden_layer(model, "last")
    with torch.no_grad(), HiddenStateHook(hidden_layer(model, "last" if normed else 1)) as tap:
        state_BTD = model(ids_BT, output_hidden_states=True).hidden_states[-1]
        hidden_BTD = tap.take()
        assert hidden_BTD.shape == (1, 4, 16)
        projection = model.model.decoder.project_out
        torch.testing.assert_close(
            hidden_BTD if projection is None else projection(hidden_BTD), state_BTD, rtol=0, atol=0
        )
