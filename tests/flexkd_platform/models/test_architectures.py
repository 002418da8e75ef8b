"""What the entry of every architecture says, tried on tiny models of all of its variants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel

from flexkd_core import layer_leaf
from flexkd_platform.model_info import FAMILIES, ModelFacts, resolve_layers
from flexkd_platform.model_info.families import final_norm
from flexkd_platform.model_info.logits import LOGIT_KEYS
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import (
    HiddenStateHook,
    check_student,
    head_rows,
    hidden_layer,
    load_language_model,
    load_tokenizer,
    load_with_head,
)
from flexkd_platform.models.config_facts import longest_input
from flexkd_platform.models.family import head_reads
from flexkd_platform.models.output_rows import logit_map_of
from flexkd_platform.models.student import smaller_config
from flexkd_platform.plan import LayerRef
from flexkd_platform.spec import AlignedInit, RandomInit, SlicedInit

from ..architectures import SIZES, VARIANTS, kind_of

Make = Callable[..., Path]
Facts = Callable[[Path], ModelFacts]
Batch = Callable[[str], dict[str, Tensor]]

CLASSIFIERS = [v for v in VARIANTS if not FAMILIES[kind_of(v)].encoder_decoder]
LEARNED_POSITIONS = ("position_embeddings", "wpe", "embed_positions")


def classifier(folder: Path, dropout: float | None = 0.0) -> PreTrainedModel:
    return load_with_head(folder, outputs=2, regression=False, seed=0, dropout=dropout)


def test_every_architecture_is_tried() -> None:
    assert set(SIZES) == set(FAMILIES) == {kind_of(variant) for variant in VARIANTS}


def layers_of(model: PreTrainedModel) -> list[LayerRef]:
    """Every layer that a spec can name, with the final norm of each stack that has one."""
    refs: list[LayerRef] = []
    for name, stack in FAMILIES[model.config.model_type].stacks.items():
        count = getattr(model.config, stack.layers)
        places = [*range(count), *(["last"] if final_norm(model.config, stack) else [])]
        refs += [f"{name}.{place}" if name else place for place in places]  # type: ignore[misc]
    return refs


@pytest.mark.parametrize("variant", VARIANTS)
def test_layers_put_out_the_models_hidden_states(make: Make, batch_of: Batch, variant: str) -> None:
    """That of layer n is `hidden_states[n + 1]`, and `last` is `hidden_states[-1]`."""
    kind = kind_of(variant)
    family = FAMILIES[kind]
    if family.language_model:
        model = load_language_model(make(kind, language_model=True, **VARIANTS[variant]))
    else:
        model = classifier(make(kind, **VARIANTS[variant]))
    hooks = {ref: HiddenStateHook(hidden_layer(model, ref)) for ref in layers_of(model)}
    for _ in range(2):  # a module that is several layers counts its calls anew
        output = model(**batch_of(kind), output_hidden_states=True)
        for name, stack in family.stacks.items():
            states = output[f"{name}_hidden_states"] if name else output.hidden_states
            count, at = getattr(model.config, stack.layers), f"{name}." if name else ""
            normed = final_norm(model.config, stack) is not None
            assert len(states) == count + 1
            for place in range(count):
                found_BTD = hooks[f"{at}{place}" if name else place].take()
                if place < count - 1 or not normed:
                    assert torch.equal(found_BTD, states[place + 1]), place
            if normed and variant != "opt projected":  # whose states are projected, the last one
                assert torch.equal(hooks[f"{at}last"].take(), states[-1])


def padded(variant: str) -> dict[str, Tensor]:
    """Three texts of 6, 4 and 2 tokens, padded on the right; 0 is the padding of all tokenizers."""
    end = 1 if FAMILIES[kind_of(variant)].encoder_decoder else 10
    ids_BT = torch.tensor([[5, 6, 7, 8, 9, end], [5, 6, 7, end, 0, 0], [9, end, 0, 0, 0, 0]])
    return {"input_ids": ids_BT, "attention_mask": (ids_BT != 0).long()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_depend_on_the_rows_that_the_head_reads_alone(make: Make, variant: str) -> None:
    """By the gradient of each example's logits at the output of the last layer, or its norm."""
    model, batch = classifier(make(kind_of(variant), **VARIANTS[variant])), padded(variant)
    rows_BT = head_rows(model, **batch)
    reads = head_reads(model.config)
    assert reads == ("mean" if "mean" in variant else FAMILIES[kind_of(variant)].head_reads)
    with layer_leaf(hidden_layer(model, layers_of(model)[-1])) as leaf:
        logits_BC = model(**batch).logits
    (gradient_BTD,) = torch.autograd.grad(logits_BC[:, 0].sum(), leaf.hidden_BTD)
    assert torch.equal(gradient_BTD.abs().sum(dim=2) > 0, rows_BT)
    assert (rows_BT.sum(dim=1).tolist() == [1, 1, 1]) == (reads != "mean")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_entry_names_every_dropout(make: Make, batch_of: Batch, variant: str) -> None:
    kind = kind_of(variant)
    folder = make(kind, **VARIANTS[variant])
    batch = {k: v for k, v in batch_of(kind).items() if not k.startswith("decoder")}
    plain = classifier(folder)
    expected_BC = plain(**batch).logits
    assert torch.equal(plain.train()(**batch).logits, expected_BC)
    strong = classifier(folder, dropout=0.25)
    assert torch.equal(strong(**batch).logits, expected_BC)
    assert not torch.equal(strong.train()(**batch).logits, expected_BC)
    rates = {module.p for module in strong.modules() if isinstance(module, nn.Dropout)}
    assert rates <= {0.25}


@pytest.mark.parametrize("variant", CLASSIFIERS)
def test_the_longest_input_is_read_and_no_longer_one(
    make: Make, facts_at: Facts, variant: str
) -> None:
    folder = make(kind_of(variant), **VARIANTS[variant])
    model, longest = classifier(folder), facts_at(folder).max_positions
    assert longest == longest_input(model.config)

    def read(tokens: int) -> None:
        ids_BT = torch.full((1, tokens), 6)
        model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT))

    read(longest)
    if any(part in name for name, _ in model.named_modules() for part in LEARNED_POSITIONS):
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            read(longest + 1)


# --- cutting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [k for k, family in FAMILIES.items() if family.per_layer])
def test_lists_of_a_config_follow_the_kept_layers(make: Make, kind: str) -> None:
    config = AutoConfig.from_pretrained(make(kind))
    for key in FAMILIES[kind].per_layer:
        values = getattr(config, key)
        assert len(values) == 3
        cut = smaller_config(config, AlignedInit(kind="aligned", layers=(1,), hidden_size=8))
        assert getattr(cut, key) == values[1:2]
        # A random student has the layers of a cut one, and repeats them where it is deeper.
        cut = smaller_config(config, SlicedInit(layers=2, hidden_size=8))
        drawn = smaller_config(config, RandomInit(kind="random", layers=2, hidden_size=8))
        assert getattr(cut, key) == getattr(drawn, key) == [values[0], values[2]]
        deeper = smaller_config(config, RandomInit(kind="random", layers=5, hidden_size=8))
        assert getattr(deeper, key) == [*values, *values[:2]]


def test_shared_layers_are_not_cut(make: Make, facts_at: Facts) -> None:
    albert = facts_at(make("albert"))
    for init in (
        SlicedInit(layers=1, hidden_size=8),
        AlignedInit(kind="aligned", layers=1, hidden_size=8),
    ):
        (problem,) = check_student(init, albert, must_fit=True)[1]
        assert problem.path == "student.init.kind"
        assert problem.message == (
            "no student can be cut from an architecture like albert: its layers share their "
            "weights, so there are none to choose from"
        )
    random = RandomInit(kind="random", layers=2, hidden_size=12)
    assert check_student(random, albert, must_fit=True)[1] == []
    assert resolve_layers("last", albert) == (2,)


def test_a_size_that_the_architecture_refuses_is_a_problem(make: Make, facts_at: Facts) -> None:
    """Gemma's heads need not make up the width, but the width is a multiple of their number."""
    gemma = facts_at(make("gemma3_text", num_key_value_heads=1))
    (problem,) = check_student(SlicedInit(layers=1, hidden_size=13), gemma, must_fit=True)[1]
    assert problem.path == "student.init.hidden_size"
    assert "not a multiple" in problem.message


def test_whole_groups_of_heads_that_do_not_make_up_the_width(make: Make, facts_at: Facts) -> None:
    qwen = facts_at(make("qwen3", num_attention_heads=6, num_key_value_heads=2))
    (problem,) = check_student(SlicedInit(layers=1, hidden_size=14), qwen, must_fit=True)[1]
    assert problem.message == "a width of 14 needs 5 key-value heads, and the teacher has 2"
    assert problem.remedy.startswith("give a multiple of 8, ")
    assert check_student(SlicedInit(layers=1, hidden_size=8), qwen, must_fit=True)[1] == []


# --- heads -----------------------------------------------------------------------------------


def test_modernberts_pretrained_head_is_kept(make: Make, tmp_path: Path) -> None:
    """Masked language models hold the part of the head before the last linear map."""
    folder = make("modernbert")
    with quiet():
        config = AutoConfig.from_pretrained(folder)
        masked = AutoModelForMaskedLM.from_config(config)
        masked.save_pretrained(tmp_path / "masked")
        load_tokenizer(folder).save_pretrained(tmp_path / "masked")
    saved = load_file(tmp_path / "masked" / "model.safetensors")
    model = classifier(tmp_path / "masked")
    assert torch.equal(model.head.dense.weight, saved["head.dense.weight"])
    drawn = classifier(folder)  # a backbone alone
    assert not torch.equal(drawn.head.dense.weight, model.head.dense.weight)
    assert torch.equal(drawn.head.norm.weight, torch.ones(16))
    assert torch.equal(drawn.classifier.weight, model.classifier.weight)


def test_a_gpt_neox_with_its_head_under_its_published_name(make: Make, facts_at: Facts) -> None:
    folder = make("gpt_neox", language_model=True)
    file = folder / "model.safetensors"
    weights = load_file(file)
    (head,) = [name for name in weights if name in FAMILIES["gpt_neox"].output_names]
    weights["embed_out.weight"] = weights.pop(head)
    save_file(weights, file, {"format": "pt"})
    assert facts_at(folder).language_model
    model = load_language_model(folder)
    assert torch.equal(model.lm_head.weight, weights["embed_out.weight"])


TINY = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "pad_token_id": 0,
}
MAPPED: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 8, "final_logit_softcapping": 0.5},
    "gemma3_text": {"head_dim": 8, "final_logit_softcapping": 0.5},
    "vaultgemma": {"head_dim": 8, "final_logit_softcapping": 0.5},
    "nanochat": {"final_logit_softcapping": 0.5, "num_key_value_heads": 2},
    "recurrent_gemma": {"logits_soft_cap": 0.5, "lru_width": 16, "head_dim": 8},
    "cohere": {"logit_scale": 0.3},
    "cohere2": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 3.0},
    "granitemoe": {"logits_scaling": 3.0},
    "granitemoeshared": {"logits_scaling": 3.0},
    "hyperclovax": {"logits_scaling": 3.0},
}


@pytest.mark.parametrize("kind", MAPPED)
def test_logits_are_what_the_settings_make_of_the_heads_product(kind: str) -> None:
    """Of architectures without an entry, too, and each has an effect."""
    config = AutoConfig.for_model(kind, **TINY | MAPPED[kind])
    torch.manual_seed(0)
    with quiet():
        model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    inputs: list[Tensor] = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda module, args, output: inputs.append(output))
    logits_BTV = model(input_ids=torch.arange(1, 7)[None], use_cache=False).logits
    (product_BTV,) = inputs
    assert kind in LOGIT_KEYS
    assert (product_BTV - logits_BTV).abs().max() > 1e-3
    torch.testing.assert_close(logit_map_of(config)(product_BTV), logits_BTV)
