"""Smaller copies of every architecture: by law, and weight for weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from flexkd_platform.model_info import FAMILIES, ModelFacts
from flexkd_platform.models import (
    build_student,
    check_student,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    save_model,
)
from flexkd_platform.models.slices import SLICES
from flexkd_platform.models.slicing import kept_groups
from flexkd_platform.spec import AlignedInit, RandomInit, SlicedInit, StudentInit

from .. import architectures
from ..architectures import kind_of
from .conftest import same

Make = Callable[..., Path]
Facts = Callable[[Path], ModelFacts]
Batch = Callable[[str], dict[str, Tensor]]

VARIANTS: dict[str, Mapping[str, Any]] = {
    "llama untied": {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
    "t5 untied": {"untied": True},
    **{
        variant: values
        for variant, values in architectures.VARIANTS.items()
        if FAMILIES[kind_of(variant)].language_model
    },
}
CLASSIFIERS: dict[str, Mapping[str, Any]] = {
    variant: values
    for variant, values in architectures.VARIANTS.items()
    if kind_of(variant) in SLICES
}
LANGUAGE_MODELS = [kind for kind, family in FAMILIES.items() if family.language_model]


def cut(
    folder: Path,
    layers: int | tuple[int, ...],
    width: int,
    *,
    units: list[int] | None = None,
    language_model: bool = True,
) -> PreTrainedModel:
    """A student whose units are those given, or the first ones."""
    init: StudentInit = SlicedInit(layers=layers, hidden_size=width, units="first")
    chosen = None
    if units is not None:
        init = AlignedInit(kind="aligned", layers=layers, hidden_size=width)
        chosen = {"": units, "decoder": units}
    return build_student(
        init,
        folder,
        outputs=2,
        regression=False,
        dropout=0.0,
        language_model=language_model,
        units=chosen,
        seed=0,
    )


def all_layers(kind: str) -> tuple[int, ...] | int:
    # Stacks of 3 and 2 layers cannot both be kept whole by one list: their makers make them alike.
    return {"bert": 4}.get(kind_of(kind), 3)


def sizes(kind: str) -> dict[str, Any]:
    """An encoder–decoder of as many layers in either stack."""
    key = {"bart": "decoder_layers", "t5": "num_decoder_layers"}.get(kind)
    return {} if key is None else {key: 3}


def permutation(width: int) -> list[int]:
    units: list[int] = torch.randperm(width, generator=torch.Generator().manual_seed(4)).tolist()
    return units


@pytest.mark.parametrize("variant", VARIANTS)
def test_cut_whole_a_language_model_is_its_teacher(
    make: Make, batch_of: Batch, variant: str
) -> None:
    kind = kind_of(variant)
    folder = make(kind, language_model=True, **sizes(kind), **VARIANTS[variant])
    teacher = load_language_model(folder)
    student = cut(folder, all_layers(kind), 16)
    assert same(student, teacher)
    assert torch.equal(student(**batch_of(kind)).logits, teacher(**batch_of(kind)).logits)
    assert not student.training


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_units_makes_no_difference(make: Make, batch_of: Batch, variant: str) -> None:
    kind = kind_of(variant)
    folder = make(kind, language_model=True, **sizes(kind), **VARIANTS[variant])
    teacher = load_language_model(folder).double()
    student = cut(folder, all_layers(kind), 16, units=permutation(16)).double()
    assert not same(student, teacher)
    with torch.no_grad():
        # In fp64, but for Llama's norm and rotation: only the order of sums differs.
        logits_BTV, expected_BTV = (
            student(**batch_of(kind)).logits,
            teacher(**batch_of(kind)).logits,
        )
        torch.testing.assert_close(logits_BTV, expected_BTV, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", CLASSIFIERS)
def test_classifiers_are_cut_by_the_same_laws(make: Make, batch_of: Batch, variant: str) -> None:
    kind = kind_of(variant)
    folder = make(kind, **sizes(kind), **CLASSIFIERS[variant])
    batch = batch_of(kind)
    teacher = load_with_head(folder, outputs=2, regression=False, seed=0, dropout=0.0)
    width = teacher.config.hidden_size
    whole = cut(folder, all_layers(kind), width, language_model=False)
    assert same(whole, teacher)
    mixed = cut(
        folder, all_layers(kind), width, units=permutation(width), language_model=False
    ).double()
    hidden_BTD = teacher.double().base_model(**batch)[0]
    if hidden_BTD.shape[-1] == width:  # without a projection after the layers
        hidden_BTD = hidden_BTD[..., permutation(width)]
    # Llama's norm and rotation work in fp32 whatever the weights are.
    torch.testing.assert_close(mixed.base_model(**batch)[0], hidden_BTD, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_weight_of_a_small_one_comes_from_the_teacher(
    make: Make, facts_at: Facts, batch_of: Batch, variant: str
) -> None:
    kind = kind_of(variant)
    folder = make(kind, language_model=True, **VARIANTS[variant])
    teacher = load_language_model(folder)
    held = {value.item() for weight in teacher.state_dict().values() for value in weight.flatten()}
    student = cut(folder, 1, 8, units=[3, 15, 0, 9, 8, 2, 7, 12])
    for name, weight in student.state_dict().items():
        assert {value.item() for value in weight.flatten()} <= held, name
    assert student(**batch_of(kind)).logits.isfinite().all()
    init = AlignedInit(kind="aligned", layers=1, hidden_size=8)
    facts, problems = check_student(init, facts_at(folder), must_fit=True)
    assert problems == []
    assert facts is not None
    assert facts.parameters == sum(p.numel() for p in _backbone(student).values())
    assert (facts.language_model, facts.hidden_size, facts.layers) == (True, 8, 1)
    assert facts.tokenizer_digest == facts_at(folder).tokenizer_digest


def _backbone(model: PreTrainedModel) -> dict[str, Tensor]:
    own = model.lm_head.weight is not model.get_input_embeddings().weight
    named = dict(model.named_parameters())
    return {n: p for n, p in named.items() if not (own and n == "lm_head.weight")}


def test_chosen_parts_of_a_gpt2(make: Make) -> None:
    folder = make("gpt2", language_model=True)
    weights = load_file(folder / "model.safetensors")
    units = [5, 1, 14, 0, 9, 3, 2, 11]
    student = cut(folder, (0, 2), 8, units=units)
    assert student.lm_head.weight is student.transformer.wte.weight
    assert torch.equal(student.lm_head.weight, weights["transformer.wte.weight"][:, units])
    # Heads 0 and 2 of 4, each 4 wide, of query, key and value in one.
    rows = [0, 1, 2, 3, 8, 9, 10, 11]
    fused = rows + [16 + row for row in rows] + [32 + row for row in rows]
    attention = student.transformer.h[1].attn
    expected = weights["transformer.h.2.attn.c_attn.weight"]
    assert torch.equal(attention.c_attn.weight, expected[units][:, fused])
    expected = weights["transformer.h.2.attn.c_proj.weight"]
    assert torch.equal(attention.c_proj.weight, expected[rows][:, units])


def test_groups_of_heads_stay_together() -> None:
    # 3 queries on each of 4 key-value heads: two whole groups of them, or parts of each.
    assert kept_groups((6, 2), (12, 4)) == ([0, 1, 2, 6, 7, 8], [0, 2])
    assert kept_groups((4, 2), (12, 4)) == ([0, 1, 6, 7], [0, 2])
    assert kept_groups((12, 4), (12, 4)) == (list(range(12)), [0, 1, 2, 3])


def test_chosen_parts_of_a_llama(make: Make) -> None:
    folder = make("llama", language_model=True)
    weights = load_file(folder / "model.safetensors")
    student = cut(folder, (1,), 8)
    assert (student.config.num_attention_heads, student.config.num_key_value_heads) == (2, 1)
    layer = student.model.layers[0].self_attn
    for part, rows in (("q", 8), ("k", 4), ("v", 4)):
        expected = weights[f"model.layers.1.self_attn.{part}_proj.weight"][:rows, :8]
        assert torch.equal(layer.get_submodule(f"{part}_proj").weight, expected)
    assert torch.equal(student.lm_head.weight, weights["lm_head.weight"][:, :8])


def test_t5_keeps_the_first_layers_positions(make: Make) -> None:
    folder = make("t5", language_model=True)
    weights = load_file(folder / "model.safetensors")
    student = cut(folder, (1,), 8)
    for stack in ("encoder", "decoder"):
        expected = weights[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
        layer = student.get_submodule(stack).block[0].layer[0].SelfAttention
        assert torch.equal(layer.relative_attention_bias.weight, expected[:, [0, 2]])
        query = weights[f"{stack}.block.1.layer.0.SelfAttention.q.weight"]
        rows = [*range(6), *range(12, 18)]  # heads 0 and 2 of 4, each 6 wide
        assert torch.equal(layer.q.weight, query[rows][:, :8])


def test_a_stack_has_heads_and_inner_units_of_its_own(make: Make) -> None:
    folder = make("bart", language_model=True)
    weights = load_file(folder / "model.safetensors")
    student = cut(folder, 1, 8)
    config = student.config
    assert (config.encoder_attention_heads, config.decoder_attention_heads) == (2, 1)
    assert (config.encoder_ffn_dim, config.decoder_ffn_dim) == (16, 24)
    # The last layers of 3 and of 2; every other inner unit.
    for name, source in (("encoder.layers.0", 2), ("decoder.layers.0", 1)):
        expected = weights[f"model.{name[:-1]}{source}.fc1.weight"][::2, :8]
        assert torch.equal(student.model.get_parameter(f"{name}.fc1.weight"), expected)
    assert torch.equal(student.final_logits_bias, weights["final_logits_bias"])


@pytest.mark.parametrize("variant", ["gpt2", "llama untied", "bart", "t5 untied", "t5 gated"])
def test_a_student_is_saved_and_cut_again(
    make: Make, batch_of: Batch, tmp_path: Path, variant: str
) -> None:
    """As the fine-tuned teacher's folder is."""
    kind = kind_of(variant)
    folder = make(kind, language_model=True, **VARIANTS[variant])
    student = cut(folder, 2, 8)
    save_model(student, load_tokenizer(folder), tmp_path / "saved")
    again = cut(tmp_path / "saved", 2, 8)
    assert torch.equal(again(**batch_of(kind)).logits, student(**batch_of(kind)).logits)
    loaded, tokenizer = load_saved(tmp_path / "saved")
    assert torch.equal(loaded(**batch_of(kind)).logits, student(**batch_of(kind)).logits)
    assert tokenizer.pad_token_id == loaded.config.pad_token_id


def test_a_fine_tuned_classifier_is_cut_too(make: Make) -> None:
    folder = make("bert", head=5)
    student = cut(folder, 2, 8, language_model=False)
    weights = load_file(folder / "model.safetensors")
    words = student.bert.embeddings.word_embeddings.weight
    assert torch.equal(words, weights["bert.embeddings.word_embeddings.weight"][:, :8])
    assert student.config.num_labels == 2


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_random_language_models(make: Make, facts_at: Facts, batch_of: Batch, kind: str) -> None:
    folder = make(kind, language_model=True)
    init = RandomInit(kind="random", layers=4, hidden_size=32)
    made = [
        build_student(
            init,
            folder,
            outputs=2,
            regression=False,
            seed=seed,
            dropout=None,
            language_model=True,
        )
        for seed in (1, 1, 2)
    ]
    assert same(made[0], made[1])
    assert not same(made[0], made[2])
    assert made[0](**batch_of(kind)).logits.isfinite().all()
    facts, problems = check_student(init, facts_at(folder), must_fit=False)
    assert problems == []
    assert facts is not None
    assert {stack.layers for stack in facts.stacks} == {4}
    assert facts.parameters == sum(p.numel() for p in _backbone(made[0]).values())


@pytest.mark.parametrize(
    ("units", "says"),
    [
        ({"": [0, 1, 2]}, "needs 8 different units of 0 to 15, and 3 are given, 3 of them"),
        ({"": [0, 1, 2, 3, 4, 5, 6, 6]}, "and 8 are given, 7 of them different"),
        ({"": [0, 1, 2, 3, 4, 5, 6, 16]}, "needs 8 different units of 0 to 15"),
        ({"decoder": list(range(8))}, r"units are of the stacks \['decoder'\]: give those of ''"),
        (None, "an aligned student needs units"),
    ],
)
def test_units_that_make_no_student(
    make: Make, units: dict[str, list[int]] | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        build_student(
            AlignedInit(kind="aligned", layers=1, hidden_size=8),
            make("gpt2"),
            outputs=2,
            regression=False,
            seed=0,
            dropout=None,
            units=units,
        )


def test_widths_that_the_teachers_parts_do_not_make(make: Make, facts_at: Facts) -> None:
    llama = facts_at(make("llama"))
    (problem,) = check_student(SlicedInit(layers=1, hidden_size=12), llama, must_fit=True)[1]
    assert problem.message == "a width of 12 needs 3 key-value heads, and the teacher has 2"
    assert problem.remedy == "give a multiple of 8, which keeps the groups of its heads whole"
    opt = facts_at(make("opt", word_embed_proj_dim=8))
    (problem,) = check_student(SlicedInit(layers=1, hidden_size=8), opt, must_fit=True)[1]
    assert "projects a word embedding of width 8" in problem.message
    assert check_student(SlicedInit(layers=1, hidden_size=4), opt, must_fit=True)[1] == []


def test_a_stack_too_short(make: Make, facts_at: Facts) -> None:
    bart = facts_at(make("bart"))  # 3 and 2 layers
    (problem,) = check_student(SlicedInit(layers=3, hidden_size=8), bart, must_fit=True)[1]
    assert problem.path == "student.init.layers"
    assert problem.message == "the student has 3 layers, its teacher 2"
    init = SlicedInit(layers=(0, -1), hidden_size=8)
    assert check_student(init, bart, must_fit=True)[1] == []
