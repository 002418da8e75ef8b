"""Prompts and responses as ids, and batches that padding does not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
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

from flexkd_platform.data.templates import prompt_of, split_prompt
from flexkd_platform.models.base_tokenizer import train_tokenizer
from flexkd_platform.tasks.prompts import (
    GenerationExamples,
    NoRoomError,
    encode_documents,
    encode_prompts,
    encode_responses,
)
from flexkd_platform.tasks.truncation import Lengths

PAD, BOS, EOS, START, VOCABULARY = 0, 1, 2, 3, 60


def letters(template: str = "$A") -> Any:
    """A tokenizer of single characters, two newlines being one; special tokens as given."""
    characters = ["<pad>", "<bos>", "<eos>", "<unk>", *"abcdefgh#R: \n", "\n\n"]
    raw = Tokenizer(
        models.BPE(
            {character: place for place, character in enumerate(characters)},
            [("\n", "\n")],
            unk_token="<unk>",
        )
    )
    special = [("<bos>", BOS), ("<eos>", EOS)]
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    raw.normalizer, raw.pre_tokenizer = normalizers.Sequence([]), pre_tokenizers.Sequence([])
    raw.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


# --- prompts -----------------------------------------------------------------------------------

RESPONSE = "\n\n### Response:\n"


@pytest.fixture(scope="module")
def trained() -> Any:
    """A byte-level BPE tokenizer that knows the template's words."""
    words = " ".join(f"word{number} naïve 天气 über" for number in range(40))
    texts = [prompt_of(words, words, "alpaca"), prompt_of(words, None, "alpaca")] * 3
    return train_tokenizer(texts, 900, "gpt2", 1024)


def encoded(tokenizer: Any, prompt: str, limit: int, template: str = "alpaca") -> list[int]:
    (ids,) = encode_prompts(tokenizer, [prompt], limit=limit, template=template).ids
    assert all(type(token) is int for token in ids)
    return ids


@pytest.mark.parametrize("protocol", ["clean", "minillm"])
@pytest.mark.parametrize(
    ("template", "begin"),
    [("$A", ""), ("<bos> $A", "<bos>"), ("$A <eos>", ""), ("<bos> $A <eos>", "<bos>")],
)
def test_a_prompt_gets_the_beginning_that_is_usual_and_no_end(
    template: str, begin: str, protocol: Any
) -> None:
    tokenizer = letters(template)
    found = encode_prompts(tokenizer, ["abc", "R"], limit=99, template="none", protocol=protocol)
    assert [tokenizer.decode(row) for row in found.ids] == [f"{begin}abc", f"{begin}R"]
    assert found.lengths == Lengths(0, 3 + bool(begin))


CONTENT = st.lists(st.sampled_from(["word7", "naïve", "天气", "über", "x", "\n", "# "]), min_size=1)


@given(CONTENT, st.none() | CONTENT, st.integers(14, 120))
def test_a_long_prompt_is_cut_inside_its_contents(
    trained: Any, instruction: list[str], given_words: list[str] | None, limit: int
) -> None:
    """The law: the ids are those of a prompt whose contents start as they did."""
    words = [" ".join(instruction), None if given_words is None else " ".join(given_words)]
    assert words[0] is not None
    prompt = prompt_of(words[0], words[1], "alpaca")
    whole = trained(prompt)["input_ids"]
    ids = encoded(trained, prompt, limit)
    assert len(ids) <= limit
    if len(whole) <= limit:
        assert ids == whole
        return
    text = trained.decode(ids)
    assert trained(text)["input_ids"] == ids
    assert text.endswith(RESPONSE)
    parts = split_prompt(prompt, "alpaca")
    variants = (parts, *parts.shorter())
    heads = [one for one in variants if text.startswith(one.fixed[0])]
    assert heads
    rest = text[len(heads[0].fixed[0]) : -len(RESPONSE)]
    assert parts.contents[0].startswith(rest.split(heads[0].fixed[1])[0])
    if 2 * len(trained("".join(parts.fixed))["input_ids"]) <= limit - 8:
        assert heads[0] is parts  # the whole template has room


def test_prompts_of_the_same_task_stay_distinct(trained: Any) -> None:
    """40 inputs of one instruction, none of which fits: each keeps its own beginning."""
    prompts = [prompt_of("word1", f"word{n} " + "x " * 200, "alpaca") for n in range(40)]
    found = encode_prompts(trained, prompts, limit=96, template="alpaca")
    assert len({tuple(ids) for ids in found.ids}) == 40
    assert found.lengths.cut == 40
    assert found.lengths.longest > 200
    assert found.lengths.bare == 0


def test_the_longer_content_is_cut_first(trained: Any) -> None:
    short, long = "word3 word4", "word5 " * 200
    for instruction, given_text in ((short, long), (long, short)):
        text = trained.decode(encoded(trained, prompt_of(instruction, given_text, "alpaca"), 110))
        assert short in text
        assert text.count("word5") > 15
    halves = trained.decode(encoded(trained, prompt_of(long, "word6 " * 200, "alpaca"), 110))
    assert abs(halves.count("word5") - halves.count("word6")) <= 2


def test_the_introduction_gives_way_before_the_contents(trained: Any) -> None:
    prompt = prompt_of("word1 " * 100, None, "alpaca")
    full = len(trained(prompt_of("", None, "alpaca"))["input_ids"])
    texts = {limit: trained.decode(encoded(trained, prompt, limit)) for limit in (2 * full, 20, 10)}
    assert texts[2 * full].startswith("Below is an instruction")
    assert all(text.endswith(RESPONSE) and "word1" in text for text in texts.values())
    assert not texts[10].startswith("Below")
    assert encode_prompts(trained, [prompt], limit=10, template="alpaca").lengths.bare == 1
    marker = len(trained(RESPONSE)["input_ids"])
    with pytest.raises(NoRoomError, match=rf"raise max_prompt above {marker}"):
        encoded(trained, prompt, marker)


def test_a_slow_tokenizer_cuts_the_same_way(trained: Any, monkeypatch: Any) -> None:
    """Without offsets the ends of tokens are guessed; the result still fits and keeps the end."""
    prompt = prompt_of("word1 word2 " * 60, "über " * 90, "alpaca")
    monkeypatch.setattr(type(trained), "is_fast", property(lambda self: False))
    ids = encoded(trained, prompt, 100)
    assert 60 < len(ids) <= 100
    assert trained.decode(ids).endswith(RESPONSE)


def test_minillm_cuts_the_end_as_that_code_does(trained: Any) -> None:
    prompt = prompt_of("word1 " * 100, None, "alpaca")
    found = encode_prompts(trained, [prompt], limit=50, template="alpaca", protocol="minillm")
    assert found.ids == [trained(prompt)["input_ids"][:50]]
    assert encode_prompts(trained, [], limit=9, template="alpaca").ids == []


def test_without_a_template_the_head_is_kept() -> None:
    tokenizer = letters("<bos> $A")
    found = encode_prompts(tokenizer, ["abcdef", "a"], limit=4, template="none")
    assert [tokenizer.decode(row) for row in found.ids] == ["<bos>abc", "<bos>a"]
    assert found.lengths == Lengths(1, 7)


# --- documents and responses --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<bos> $A <eos>", ["<bos>ab<eos>", "<bos>a<eos>", "<bos><eos>"]),
        ("$A <eos>", ["abc<eos>", "a<eos>", "<eos>"]),
    ],
)
def test_a_document_keeps_its_special_tokens_when_cut(template: str, expected: list[str]) -> None:
    tokenizer = letters(template)
    found = encode_documents(tokenizer, ["abcdef", "a", ""], limit=4)
    assert [tokenizer.decode(row) for row in found.ids] == expected
    added = 2 if template.startswith("<bos>") else 1
    assert found.lengths == Lengths(1, 6 + added)
    assert encode_documents(tokenizer, ["abc"[: 4 - added]], limit=4).lengths.cut == 0
    assert encode_documents(tokenizer, [], limit=4).ids == []


@pytest.mark.parametrize("template", ["$A", "<bos> $A <eos>", "$A <eos>"])
@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("", "<eos>"),
        ("ab", "ab<eos>"),
        ("abc", "abc<eos>"),  # limit − 1 tokens: the end is the last that fits
        ("abcd", "abcd"),
        ("abcde", "abcd"),
    ],
)
def test_a_response_ends_where_it_ends(template: str, response: str, expected: str) -> None:
    tokenizer = letters(template)
    found = encode_responses(tokenizer, [response], limit=4, eos_id=EOS)
    assert tokenizer.decode(found.ids[0]) == expected
    assert found.lengths == Lengths(int(not expected.endswith("<eos>")), len(response) + 1)


# --- batches -----------------------------------------------------------------------------------


def examples(encoder_decoder: bool, **changes: Any) -> GenerationExamples:
    """Rows of all lengths: a response of one token, equal rows, one that fills the positions."""
    draw = torch.Generator().manual_seed(5)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, VOCABULARY, (length,), generator=draw).tolist())

    sizes = [(3, 4), (7, 1), (1, 5), (12, 12), (3, 4), (23, 1), (1, 23)]
    fields: dict[str, Any] = {
        "prompts": tuple(ids(prompt) for prompt, _ in sizes),
        "responses": tuple((*ids(response - 1), EOS) for _, response in sizes),
        "pad_id": PAD,
        "encoder_decoder": encoder_decoder,
        "decoder_start_id": START if encoder_decoder else None,
    }
    return GenerationExamples(**(fields | changes))


def build(name: str) -> Any:
    ids = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}
    made: dict[str, Any] = {
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=24, **ids)
        ),
        "opt": lambda: OPTForCausalLM(
            OPTConfig(hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, **small, **ids)
        ),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(hidden_size=16, intermediate_size=32, **small, **ids)
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
                max_position_embeddings=24,
                **ids,
            )
        ),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, **ids)
        ),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = made[name]()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture(scope="module", params=["gpt2", "opt", "llama", "bart", "t5"])
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def naive_logits(model: Any, prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    """Logits (tokens, V) of each response token, each from the bare sequence before it."""
    rows = []
    for place in range(len(response)):
        before = list(response[:place])
        if model.config.is_encoder_decoder:
            output = model(
                input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[START, *before]])
            )
        else:
            output = model(input_ids=torch.tensor([[*prompt, *before]]))
        rows.append(output.logits[0, -1])
    return torch.stack(rows)


@torch.no_grad()
@pytest.mark.parametrize("pad_id", [PAD, EOS])
def test_a_batch_gives_each_response_the_logits_it_has_alone(model: Any, pad_id: int) -> None:
    """Also where the padding is the end of sequence, which stays a target."""
    data = examples(model.config.is_encoder_decoder, pad_id=pad_id)
    rows = [5, 0, 3, 1, 2, 4, 6]
    batch = data.batch(rows)
    found_NV = model(**batch.inputs).logits[batch.targets_BT]
    expected_NV = torch.cat([naive_logits(model, data.prompts[r], data.responses[r]) for r in rows])
    torch.testing.assert_close(found_NV, expected_NV, rtol=1e-5, atol=1e-5)
    assert batch.labels_N.tolist() == [token for row in rows for token in data.responses[row]]
    assert (batch.labels_N == EOS).sum() == len(rows)
    # Logits that read nothing would pass as well; these tell rows apart.
    assert (expected_NV - expected_NV.mean(dim=0)).abs().max() > 0.05


@torch.no_grad()
def test_the_loss_is_transformers_own(model: Any) -> None:
    """Cross-entropy of the labels against what the library makes of −100 labels."""
    data = examples(model.config.is_encoder_decoder)
    batch = data.batch(range(len(data)))
    loss = torch.nn.functional.cross_entropy(
        model(**batch.inputs).logits[batch.targets_BT], batch.labels_N
    )
    labels_BT = torch.full_like(
        batch.inputs.get("decoder_input_ids", batch.inputs["input_ids"]), -100
    )
    for place, (prompt, response) in enumerate(zip(data.prompts, data.responses, strict=True)):
        start = 0 if data.encoder_decoder else len(prompt)
        labels_BT[place, start : start + len(response)] = torch.tensor(response)
    torch.testing.assert_close(loss, model(**batch.inputs, labels=labels_BT).loss)


def test_a_causal_batch_by_hand() -> None:
    data = examples(
        False, prompts=((10, 11), (12,), (13,)), responses=((20, 21, EOS), (EOS,), (22, EOS))
    )
    batch = data.batch([1, 0, 2])
    assert batch.targets_BT is not None
    assert batch.inputs["input_ids"].tolist() == [
        [12, EOS, PAD, PAD, PAD],
        [10, 11, 20, 21, EOS],
        [13, 22, EOS, PAD, PAD],
    ]
    assert batch.inputs["attention_mask"].tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0],
    ]
    assert batch.targets_BT.int().tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 0, 0, 0],
    ]
    assert batch.labels_N.tolist() == [EOS, 20, 21, EOS, 22, EOS]
    assert set(batch.feature_masks) == {""}
    assert torch.equal(batch.feature_masks[""], batch.targets_BT)
    assert (data.length(0), data.target_rows(0), data.feature_rows(0, "")) == (5, 3, 3)


def test_an_encoder_decoder_batch_by_hand() -> None:
    data = examples(True, prompts=((10, 11), (12,)), responses=((20, EOS), (21, 22, EOS)))
    batch = data.batch([0, 1])
    assert batch.targets_BT is not None
    assert (data.target_rows(1), data.length(1)) == (3, 4)
    assert (data.feature_rows(1, "encoder"), data.feature_rows(1, "decoder")) == (1, 3)
    assert {name: ids.tolist() for name, ids in batch.inputs.items()} == {
        "input_ids": [[10, 11], [12, PAD]],
        "attention_mask": [[1, 1], [1, 0]],
        "decoder_input_ids": [[START, 20, PAD], [START, 21, 22]],
    }
    assert batch.targets_BT.int().tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.labels_N.tolist() == [20, EOS, 21, 22, EOS]
    assert batch.feature_masks["encoder"].int().tolist() == [[1, 1], [1, 0]]
    assert torch.equal(batch.feature_masks["decoder"], batch.targets_BT)


IDS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5), st.booleans())
def test_batch_laws(pairs: list[tuple[Any, Any]], encoder_decoder: bool) -> None:
    """Also for tokens that equal the padding."""
    prompts, responses = zip(*pairs, strict=True)
    data = examples(encoder_decoder, prompts=prompts, responses=responses)
    batch = data.batch(range(len(data)))
    assert batch.targets_BT is not None
    counts = [data.target_rows(row) for row in range(len(data))]
    assert batch.targets_BT.sum(dim=1).tolist() == counts
    assert len(batch.labels_N) == sum(counts)
    assert batch.targets_BT.dtype == torch.bool
    tensors = [*batch.inputs.values(), batch.labels_N]
    assert all(tensor.dtype == torch.int64 for tensor in tensors)
    assert int(batch.inputs["attention_mask"].sum()) == sum(map(len, prompts)) + (
        0 if encoder_decoder else sum(counts)
    )
    if not encoder_decoder:
        next_BT = batch.inputs["input_ids"].roll(-1, dims=1)
        assert torch.equal(next_BT[batch.targets_BT], batch.labels_N)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ((1,),)}, "1 prompts and 7 responses"),
        ({"prompts": ((1,),), "responses": ((),)}, "a response has no token"),
        ({"prompts": ((),), "responses": ((1,),)}, "prompt needs at least one token"),
        ({"encoder_decoder": True, "decoder_start_id": None}, "decoder_start_id"),
    ],
)
def test_examples_that_cannot_be_learned(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        examples(**({"encoder_decoder": False} | changes))
