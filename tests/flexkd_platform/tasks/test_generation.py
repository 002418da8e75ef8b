"""Generation against a loop without cache, padding or batches, on five architectures."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from flexkd_platform.spec import Beam, Greedy, Sampling
from flexkd_platform.tasks.generation import decode, generate

VOCABULARY, PAD, START, LIMIT = 60, 0, 2, 24
NEVER = VOCABULARY - 1  # end of sequence of models that do not write it
CPU = torch.device("cpu")
ARCHITECTURES = ["gpt2", "opt", "llama", "bart", "t5"]
GREEDY = Greedy(kind="greedy")


def build(name: str) -> Any:
    """A random model of two layers, with weights large enough for outputs of their own."""
    ids = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": START, "eos_token_id": 1}
    models: dict[str, Any] = {
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=LIMIT, **ids)
        ),
        "opt": lambda: OPTForCausalLM(
            OPTConfig(
                hidden_size=16,
                word_embed_proj_dim=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                ffn_dim=32,
                max_position_embeddings=LIMIT,
                **ids,
            )
        ),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                intermediate_size=32,
                max_position_embeddings=LIMIT,
                **ids,
            )
        ),
        "bart": lambda: BartForConditionalGeneration(
            BartConfig(
                d_model=16,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=32,
                decoder_ffn_dim=32,
                max_position_embeddings=LIMIT,
                decoder_start_token_id=START,
                **ids,
            )
        ),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(
                d_model=16,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                tie_word_embeddings=False,
                decoder_start_token_id=START,
                **ids,
            )
        ),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models[name]()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.35)
        if name == "t5":
            # Its residuals are not normalised: large embeddings would drown what layers add.
            model.shared.weight.data.mul_(0.1)
        # Models that never write an end leave texts of full length.
        bias = torch.zeros(VOCABULARY)
        bias[[PAD, NEVER]] = -1e4
        model.get_output_embeddings().register_forward_hook(lambda _, __, out: out + bias)
    return model.eval()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture(scope="module")
def gpt2() -> Any:
    return build("gpt2")


def prompts_of(lengths: list[int]) -> list[list[int]]:
    draw = np.random.default_rng(7)
    return [draw.integers(3, NEVER, length).tolist() for length in lengths]


PROMPTS = prompts_of([3, 9, 1, 5, 12, 3, 7])


@torch.no_grad()
def next_logits(model: Any, prompt: list[int], new: list[int]) -> Any:
    """Logits (V,) after one unpadded sequence, everything computed anew."""
    if model.config.is_encoder_decoder:
        read = {"input_ids": torch.tensor([prompt])}
        decoder = torch.tensor([[START, *new]])
        return model(**read, decoder_input_ids=decoder, use_cache=False).logits[0, -1].double()
    return model(input_ids=torch.tensor([[*prompt, *new]]), use_cache=False).logits[0, -1].double()


def naive_greedy(model: Any, prompt: list[int], most: int) -> list[int]:
    new: list[int] = []
    while len(new) < most:
        new.append(int(next_logits(model, prompt, new).argmax()))
    return new


def run(model: Any, prompts: Any = PROMPTS, decoding: Any = GREEDY, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "max_new_tokens": 8,
        "seed": 10,
        "pad_id": PAD,
        "eos_id": NEVER,
        "device": CPU,
    }
    return generate(model, prompts, decoding=decoding, **(arguments | changes))


# --- greedy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_greedy_is_the_likeliest_token_each_time(model: Any, batch_size: int) -> None:
    expected = [naive_greedy(model, prompt, 8) for prompt in PROMPTS]
    assert run(model, batch_size=batch_size) == expected
    assert len({tuple(ids) for ids in expected}) > 3  # the prompts do matter


def test_the_end_of_sequence_stops_a_text_and_is_not_part_of_it(model: Any) -> None:
    """The end is a token that some texts hold, at places that differ."""
    whole = run(model)
    end = next(token for ids in whole for token in ids[2:] if token not in ids[:2])
    cut = [ids[: ids.index(end)] if end in ids else ids for ids in whole]
    assert run(model, eos_id=end) == cut != whole
    # Also where the padding is the same token.
    assert run(model, eos_id=end, pad_id=end) == cut


def test_no_ngram_twice_agrees_with_transformers(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BART's own settings force an end, which is what the tests further down are about.
    plain = GenerationConfig(decoder_start_token_id=START, pad_token_id=PAD)
    monkeypatch.setattr(model, "generation_config", plain)
    found = run(model, no_repeat_ngram=2, max_new_tokens=11)
    assert found != run(model, max_new_tokens=11)
    for prompt, ids in zip(PROMPTS, found, strict=True):
        out_1T = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=11,
            do_sample=False,
            num_beams=1,
            no_repeat_ngram_size=2,
            eos_token_id=NEVER,
        )
        assert ids == out_1T[0, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()
        text = ids if model.config.is_encoder_decoder else prompt[-1:] + ids
        assert len(set(itertools.pairwise(text))) == len(text) - 1


def test_texts_end_where_positions_do(model: Any) -> None:
    prompts = prompts_of([LIMIT - 2, 4, LIMIT, LIMIT - 7])
    found = run(model, prompts, max_new_tokens=10)
    expected = {"gpt2": [2, 10, 0, 7], "bart": [10] * 4, "t5": [10] * 4}
    lengths = expected.get(model.config.model_type, expected["gpt2"])
    assert list(map(len, found)) == lengths
    assert found == [naive_greedy(model, *pair) for pair in zip(prompts, lengths, strict=True)]


def test_a_decoder_ends_where_its_positions_do() -> None:
    assert len(run(build("bart"), [[5, 6]], max_new_tokens=99)[0]) == LIMIT - 1
    assert len(run(build("t5"), [[5, 6]], max_new_tokens=40)[0]) == 40


def test_a_prompt_that_is_too_long_or_empty_is_refused(gpt2: Any) -> None:
    with pytest.raises(ValueError, match=r"25 tokens is longer than the 24.*smaller limit"):
        run(gpt2, prompts_of([3, LIMIT + 1]))
    with pytest.raises(ValueError, match="at least one token"):
        run(gpt2, [[3], []])
    assert run(gpt2, []) == []


def test_a_diverged_model_is_named(gpt2: Any) -> None:
    broken = build("gpt2")
    broken.transformer.ln_f.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"not finite.*learning rate"):
        run(broken)


def test_an_encoder_decoder_needs_a_start() -> None:
    t5 = build("t5")
    t5.config.decoder_start_token_id = None
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        run(t5)


def test_modes_and_gradients_are_as_before() -> None:
    model = build("opt").train()
    model.model.decoder.layers[0].eval()
    modes = [module.training for module in model.modules()]
    assert run(model) == run(build("opt"))  # dropout is off inside
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


# --- sampling ----------------------------------------------------------------------------------


def naive_sample(model: Any, row: int, seed: int, temperature: float, most: int) -> list[int]:
    """Inverse of the cumulative distribution, in NumPy."""
    new: list[int] = []
    stream = np.random.default_rng((seed, row))
    for _ in range(most):
        scaled = next_logits(model, PROMPTS[row], new).numpy() / temperature
        cumulative = np.cumsum(np.exp(scaled - scaled.max()))
        new.append(int((cumulative <= stream.random() * cumulative[-1]).sum()))
    return new


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_draw_depends_on_its_prompt_and_stream_alone(model: Any, batch_size: int) -> None:
    found = run(model, decoding=Sampling(temperature=1.5), batch_size=batch_size)
    assert found == [naive_sample(model, row, 10, 1.5, 8) for row in range(len(PROMPTS))]
    # The first prompts alone, and a shorter text.
    assert run(model, PROMPTS[:3], Sampling(temperature=1.5)) == found[:3]
    shorter = run(model, decoding=Sampling(temperature=1.5), max_new_tokens=5)
    assert shorter == [ids[:5] for ids in found]


def test_seeds_and_rows_draw_differently_and_repeatably(gpt2: Any) -> None:
    same = [PROMPTS[0]] * 6
    state = torch.random.get_rng_state()
    first = run(gpt2, same, Sampling())
    torch.manual_seed(99)
    assert run(gpt2, same, Sampling()) == first
    torch.random.set_rng_state(state)
    assert len({tuple(ids) for ids in first}) == 6
    assert not {tuple(ids) for ids in first} & {
        tuple(ids) for ids in run(gpt2, same, Sampling(), seed=11)
    }


def test_the_narrowest_draw_is_greedy(model: Any) -> None:
    greedy = run(model)
    assert run(model, decoding=Sampling(top_k=1)) == greedy
    assert run(model, decoding=Sampling(top_p=1e-9)) == greedy
    assert run(model, decoding=Sampling(temperature=1e-4)) == greedy
    assert run(model, decoding=Sampling()) != greedy


# --- beams -------------------------------------------------------------------------------------


def test_enough_beams_find_the_likeliest_text(model: Any) -> None:
    """As many beams as tokens search all texts of two tokens."""
    for prompt in PROMPTS[:1]:
        first = torch.log_softmax(next_logits(model, prompt, []), dim=-1)
        score = {
            (one, two): float(first[one] + second[two])
            for one in range(VOCABULARY)
            if one != NEVER
            for second in [torch.log_softmax(next_logits(model, prompt, [one]), dim=-1)]
            for two in range(VOCABULARY)
        }
        best = max(score, key=score.__getitem__)
        (found,) = run(model, [prompt], Beam(beams=VOCABULARY), max_new_tokens=2)
        assert found == list(best)


def test_beams_do_not_see_their_neighbours(model: Any) -> None:
    found = run(model, decoding=Beam(beams=3), batch_size=7)
    assert found == [run(model, [prompt], Beam(beams=3))[0] for prompt in PROMPTS]
    repeated = run(model, decoding=Beam(beams=3, no_repeat_ngram=1), max_new_tokens=6)
    assert all(len(set(ids)) == len(ids) for ids in repeated)
    assert repeated == run(model, decoding=Beam(beams=3), no_repeat_ngram=1, max_new_tokens=6)


def test_beams_near_the_last_position_do_not_shorten_their_neighbours(gpt2: Any) -> None:
    prompts = prompts_of([LIMIT - 2, 4, LIMIT])
    assert list(map(len, run(gpt2, prompts, Beam(beams=2)))) == [2, 8, 0]


def test_a_length_penalty_favours_longer_texts() -> None:
    """Scores are negative, so a larger exponent brings those of long texts nearer to 0."""
    model = build("bart")
    end = run(model, PROMPTS, Beam(beams=4))[0][3]
    lengths = [
        sum(map(len, run(model, PROMPTS, Beam(beams=4, length_penalty=penalty), eos_id=end)))
        for penalty in (-4.0, 4.0)
    ]
    assert lengths[0] < lengths[1]


# --- a checkpoint's own settings ----------------------------------------------------------------


@pytest.mark.parametrize("decoding", [GREEDY, Sampling(), Beam(beams=2)], ids=lambda d: d.kind)
def test_a_checkpoints_generation_settings_are_not_read(model: Any, decoding: Any) -> None:
    before = run(model, decoding=decoding)
    own = model.generation_config
    loud = GenerationConfig(
        do_sample=True,
        temperature=0.1,
        top_k=1,
        top_p=0.1,
        num_beams=5,
        min_length=20,
        max_length=3,
        min_new_tokens=7,
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        length_penalty=-9.0,
        early_stopping=True,
        forced_bos_token_id=9,
        forced_eos_token_id=9,
        suppress_tokens=sorted({token for ids in before for token in ids} - {9})[:20],
        eos_token_id=before[0][0],
        num_return_sequences=2,
    )
    model.generation_config = loud
    try:
        assert run(model, decoding=decoding) == before
        assert model.generation_config is loud
    finally:
        model.generation_config = own


# --- texts -------------------------------------------------------------------------------------


def test_texts_have_no_special_tokens_and_no_space_at_their_ends() -> None:
    from tokenizers import Tokenizer, decoders, models

    words = {"<pad>": 0, "<eos>": 1, "Ġgood": 2, "Ġfilm": 3, "Ċ": 4, "Ġ.": 5}
    raw = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")
    assert decode(tokenizer, [[2, 3, 5, 1, 0], [4, 2, 4, 3, 4], [1], []]) == [
        "good film .",
        "good\n film",
        "",
        "",
    ]
