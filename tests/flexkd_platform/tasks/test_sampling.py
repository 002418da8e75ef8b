"""Draws from one model and from mixtures, against closed forms and counted frequencies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from flexkd_platform.spec import Sampling
from flexkd_platform.tasks.generation import generate
from flexkd_platform.tasks.sampling import DrawnFromTop, draw_responses, drawn

CPU = torch.device("cpu")
PAD, EOS, START = 0, 1, 2


def toy(seed: int, vocabulary: int = 8, **changes: Any) -> Any:
    """A random GPT-2 whose tokens are far from equally likely."""
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=16,
        bos_token_id=START,
        eos_token_id=EOS,
        **changes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def student() -> Any:
    return toy(1)


@pytest.fixture(scope="module")
def teacher() -> Any:
    return toy(2)


PROMPTS = [[3, 4], [5], [6, 7, 3, 2], [4, 4, 4]]


def draw(student: Any, teacher: Any, prompts: Any = PROMPTS, **changes: Any) -> list[list[int]]:
    arguments: dict[str, Any] = {
        "teacher_mix": 0.0,
        "temperature": 1.0,
        "max_new_tokens": 6,
        "seeds": range(len(prompts)),
        "pad_id": PAD,
        "eos_id": EOS,
        "encoder_decoder": False,
        "decoder_start_id": None,
        "device": CPU,
    }
    return draw_responses(student, teacher, prompts, **(arguments | changes))


@torch.no_grad()
def probabilities(model: Any, ids: list[int], temperature: float = 1.0) -> Any:
    return torch.softmax(model(torch.tensor([ids])).logits[0, -1].double() / temperature, 0).numpy()


# --- one draw ----------------------------------------------------------------------------------


def test_a_draw_inverts_the_cumulative_distribution() -> None:
    p_BV = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]] * 6, dtype=torch.float64)
    u_B = torch.tensor([0.0, 0.249, 0.25, 0.749, 0.75, 1 - 2**-53], dtype=torch.float64)
    assert drawn(p_BV, u_B).tolist() == [1, 1, 3, 3, 4, 4]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1, exclude_max=True))
def test_no_token_of_probability_0_is_drawn(weights: list[float], u: float) -> None:
    p_1V = torch.tensor([weights], dtype=torch.float64)
    if p_1V.sum() > 1e-300:
        place = int(drawn(p_1V, torch.tensor([u], dtype=torch.float64)))
        assert p_1V[0, place] > 0


@pytest.mark.parametrize("top_k", [None, 1, 3, 40, 99])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.93, 1.0])
def test_the_likeliest_tokens_are_those_of_transformers(top_k: int | None, top_p: float) -> None:
    logits_BV = torch.randn(50, 40, generator=torch.Generator().manual_seed(0)) * 2
    expected_BV = logits_BV
    if top_k:
        expected_BV = TopKLogitsWarper(top_k)(None, expected_BV)
    if top_p < 1:
        expected_BV = TopPLogitsWarper(top_p)(None, expected_BV)
    found_BV = DrawnFromTop(top_k, top_p).narrowed(torch.softmax(logits_BV.double(), dim=-1))
    torch.testing.assert_close(
        found_BV / found_BV.sum(dim=-1, keepdim=True),
        torch.softmax(expected_BV.double(), dim=-1),
        rtol=1e-6,
        atol=1e-9,
    )


def test_the_smallest_set_of_a_share() -> None:
    """Of equally likely tokens the lower ids stay."""
    p_1V = torch.tensor([[0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    assert DrawnFromTop(None, 0.5).narrowed(p_1V).tolist() == [[0.25, 0.25, 0, 0]]
    assert DrawnFromTop(None, 0.51).narrowed(p_1V).tolist() == [[0.25, 0.25, 0.25, 0]]


# --- responses ---------------------------------------------------------------------------------


def test_no_mix_is_the_student_and_a_full_mix_the_teacher(student: Any, teacher: Any) -> None:
    for alone, mix in ((student, 0.0), (teacher, 1.0)):
        assert draw(student, teacher, teacher_mix=mix) == draw(alone, None)
    assert draw(student, None) != draw(teacher, None)
    # And a mixture of a model with itself is the model.
    assert draw(student, student, teacher_mix=0.3) == draw(student, None)


def test_a_mixture_is_of_probabilities(student: Any, teacher: Any) -> None:
    """Each token against a loop without cache, padding or batch, in NumPy."""
    found = draw(student, teacher, teacher_mix=0.3, temperature=1.7)
    for row, prompt in enumerate(PROMPTS):
        stream, ids = np.random.default_rng(row), list(prompt)
        for _ in range(6):
            p_V = 0.7 * probabilities(student, ids, 1.7) + 0.3 * probabilities(teacher, ids, 1.7)
            ids.append(int((np.cumsum(p_V) <= stream.random() * p_V.sum()).sum()))
            if ids[-1] == EOS:
                break
        assert found[row] == ids[len(prompt) :]


def test_tokens_are_drawn_as_often_as_the_mixture_says(student: Any, teacher: Any) -> None:
    """χ² of 4,000 first tokens, and of second tokens after the likeliest first.

    Each test alarms falsely with probability 1e-4 over the choice of seeds, which are fixed here;
    that either model alone is rejected at the same level shows that the test can tell.
    """
    prompt, mix, count = [3, 4], 0.4, 4000
    found = draw(
        student, teacher, [prompt] * count, teacher_mix=mix, max_new_tokens=2, seeds=range(count)
    )

    def p_value(tokens: list[int], ids: list[int], share: float) -> float:
        p_V = (1 - share) * probabilities(student, ids) + share * probabilities(teacher, ids)
        counts_V = np.bincount(tokens, minlength=8)
        rare_V = p_V * len(tokens) < 5  # χ² needs 5 expected in each cell
        if rare_V.any():
            counts_V = np.append(counts_V[~rare_V], counts_V[rare_V].sum())
            p_V = np.append(p_V[~rare_V], p_V[rare_V].sum())
        return float(stats.chisquare(counts_V, p_V * len(tokens)).pvalue)

    first = [ids[0] for ids in found]
    likeliest = max((token for token in range(8) if token != EOS), key=first.count)
    second = [ids[1] for ids in found if ids[0] == likeliest]
    assert len(second) > 500
    for tokens, ids in ((first, prompt), (second, [*prompt, likeliest])):
        assert p_value(tokens, ids, mix) > 1e-4
        assert p_value(tokens, ids, 0.0) < 1e-4
        assert p_value(tokens, ids, 1.0) < 1e-4


def test_the_end_is_part_of_a_response_that_ends(student: Any) -> None:
    found = draw(student, None, [[3, 4]] * 40, max_new_tokens=5)
    ended = [ids for ids in found if EOS in ids]
    assert ended
    assert all(ids.index(EOS) == len(ids) - 1 for ids in ended)
    assert all(len(ids) == 5 for ids in found if EOS not in ids)
    assert len(ended) < 40
    # Padding of the same id changes nothing.
    assert draw(student, None, [[3, 4]] * 40, max_new_tokens=5, pad_id=EOS) == found


def test_a_response_depends_on_its_own_seed_alone(student: Any, teacher: Any) -> None:
    together = draw(student, teacher, teacher_mix=0.5, seeds=[9, 8, 7, 6])
    for prompt, seed, ids in zip(PROMPTS, [9, 8, 7, 6], together, strict=True):
        assert draw(student, teacher, [prompt], teacher_mix=0.5, seeds=[seed]) == [ids]


def test_padding_rows_of_a_vocabulary_are_never_drawn(student: Any) -> None:
    """The teacher has three more rows, which it finds likeliest."""
    large = toy(3, vocabulary=11, tie_word_embeddings=False)
    bias = torch.zeros(11)
    bias[8:] = 50.0
    large.lm_head.register_forward_hook(lambda _, __, out: out + bias)
    assert any(token > 7 for ids in draw(large, None) for token in ids)
    for mix in (0.5, 1.0):
        found = draw(student, large, [[3, 4]] * 50, teacher_mix=mix)
        assert all(token < 8 for ids in found for token in ids)
    first = [ids[0] for ids in draw(student, large, [[3]] * 50, teacher_mix=1.0)]
    assert len(set(first)) > 2


def test_responses_end_where_the_shorter_models_positions_do(student: Any) -> None:
    short = toy(2, n_inner=32)
    short.config.n_positions = 5
    quiet = {"eos_id": 99, "max_new_tokens": 9}  # an end that no model has
    assert list(map(len, draw(student, short, teacher_mix=0.5, **quiet))) == [3, 4, 1, 2]
    assert list(map(len, draw(student, None, **quiet))) == [9, 9, 9, 9]


def test_no_gradient_and_the_same_modes_after(student: Any) -> None:
    trained, mixed = toy(1).train(), toy(2).train()
    mixed.transformer.h[0].eval()
    modes = [m.training for model in (trained, mixed) for m in model.modules()]
    found = draw(trained, mixed, teacher_mix=0.5)
    assert found == draw(student, toy(2), teacher_mix=0.5)  # dropout is off inside
    assert [m.training for model in (trained, mixed) for m in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_encoder_decoders_draw_what_generation_draws() -> None:
    config = T5Config(
        vocab_size=12,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=START,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student, teacher = (T5ForConditionalGeneration(config).eval() for _ in range(2))
    shape = {"encoder_decoder": True, "decoder_start_id": START}
    found = draw(student, teacher, teacher_mix=1.0, seeds=[(5, row) for row in range(4)], **shape)
    expected = generate(
        teacher,
        PROMPTS,
        decoding=Sampling(),
        max_new_tokens=6,
        seed=5,
        pad_id=PAD,
        eos_id=EOS,
        device=CPU,
    )
    assert [[token for token in ids if token not in (PAD, EOS)] for ids in found] == expected
    assert draw(student, teacher, teacher_mix=0.5, **shape) != found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_mix": 0.5}, r"0\.5 needs a teacher"),
        ({"teacher_mix": -0.1}, r"\[0, 1\]"),
        ({"seeds": [1]}, "1 seeds for 4 prompts"),
        ({"encoder_decoder": True}, "decoder_start_id"),
        ({"prompts": [[]], "seeds": [1]}, "at least one token"),
        ({"prompts": [[3] * 17], "seeds": [1]}, "longer than the 16"),
    ],
)
def test_wrong_requests(student: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(student, None, **changes)


def test_no_prompts_no_responses(student: Any) -> None:
    assert draw(student, None, []) == []
