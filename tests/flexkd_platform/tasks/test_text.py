"""Batches of texts: padding is never seen, order and content are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedTokenizerFast,
)

from flexkd_platform.tasks import LabelExamples, encode_texts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "good", "bad", "film", "very", "##ly", "un"]
CLS, SEP, UNK = 2, 3, 1

IDS = st.lists(st.integers(5, 11), min_size=1, max_size=9).map(tuple)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file: Path = tmp_path_factory.mktemp("words") / "words.txt"
    file.write_text("\n".join(SPECIAL + WORDS))
    return BertTokenizer(str(file))


@pytest.fixture(scope="module")
def model() -> Any:
    config = BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = BertForSequenceClassification(config).eval()
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return built.double()


def examples(rows: Sequence[tuple[int, ...]], pad_id: int = 0, **changes: Any) -> LabelExamples:
    return LabelExamples(tuple(rows), (), torch.arange(len(rows)), pad_id, **changes)


@given(
    st.lists(IDS, min_size=1, max_size=5), st.integers(0, 11), st.sampled_from(["right", "left"])
)
def test_a_batch_holds_its_rows_and_padding(
    rows: list[tuple[int, ...]], pad_id: int, padding: Any
) -> None:
    types = tuple(tuple(place % 2 for place in range(len(row))) for row in rows)
    data = LabelExamples(tuple(rows), types, torch.arange(len(rows)), pad_id, padding)
    chosen = list(range(len(rows)))[::-1] * 2
    batch = data.batch(chosen)
    ids_BT, mask_BT, types_BT = (
        batch.inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    assert ids_BT.dtype == mask_BT.dtype == types_BT.dtype == torch.int64
    assert ids_BT.shape == mask_BT.shape == (len(chosen), max(map(len, rows)))
    for place, row in enumerate(chosen):
        length, longest = len(rows[row]), mask_BT.shape[1]
        held = mask_BT[place].bool()
        ones, zeros = [1] * length, [0] * (longest - length)
        assert mask_BT[place].tolist() == (ones + zeros if padding == "right" else zeros + ones)
        assert ids_BT[place, held].tolist() == list(rows[row])
        assert types_BT[place, held].tolist() == list(types[row])
        assert (ids_BT[place, ~held] == pad_id).all()
        assert not types_BT[place, ~held].any()
    assert batch.labels_N.tolist() == chosen
    # The head decides where it reads.
    assert batch.targets_BT is None
    assert batch.feature_masks == {}


@given(st.lists(IDS, min_size=1, max_size=5))
def test_examples_tell_their_size(rows: list[tuple[int, ...]]) -> None:
    data = examples(rows)
    assert len(data) == len(rows)
    assert [data.length(row) for row in range(len(rows))] == [len(row) for row in rows]
    assert {data.target_rows(row) for row in range(len(rows))} == {1}
    assert {data.feature_rows(row, "") for row in range(len(rows))} == {1}
    assert "token_type_ids" not in data.batch([0]).inputs


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(IDS, min_size=2, max_size=4), pad_id=st.integers(0, 11))
@torch.no_grad()
def test_padding_does_not_change_an_output(
    model: Any, rows: list[tuple[int, ...]], pad_id: int
) -> None:
    data = examples(rows, pad_id)
    together_BC = model(**data.batch(range(len(rows))).inputs).logits
    for row in range(len(rows)):
        alone_1C = model(**data.batch([row]).inputs).logits
        torch.testing.assert_close(together_BC[row], alone_1C[0], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_an_output_depends_on_every_token(model: Any) -> None:
    """The law above would also hold for a model that reads nothing."""
    one_1C, other_1C = (
        model(**examples([(5, 6, last)]).batch([0]).inputs).logits for last in (7, 8)
    )
    assert (one_1C - other_1C).abs().max() > 1e-3


def encoded(tokenizer: Any, texts: list[str], length: int, **changes: Any) -> LabelExamples:
    return encode_texts(tokenizer, texts, torch.zeros(len(texts)), length, **changes)


def test_texts_as_ids(tokenizer: Any) -> None:
    data = encoded(tokenizer, ["a good film", "Unknown", ""], 16)
    assert data.ids == ((CLS, 5, 6, 8, SEP), (CLS, UNK, SEP), (CLS, SEP))
    assert data.types == ()
    assert (data.pad_id, data.padding) == (0, "right")


@pytest.mark.parametrize("length", [3, 4, 5, 6])
def test_texts_are_cut_with_their_special_tokens(tokenizer: Any, length: int) -> None:
    (ids,) = encoded(tokenizer, ["a good bad film very"], length).ids
    assert len(ids) == length
    assert (ids[0], ids[-1]) == (CLS, SEP)
    assert ids[1:-1] == (5, 6, 7, 8)[: length - 2]


def test_texts_are_encoded_one_by_one(tokenizer: Any) -> None:
    texts = ["a good film", "bad", "very very good"]
    together = encoded(tokenizer, texts, 16)
    assert together.ids == tuple(encoded(tokenizer, [text], 16).ids[0] for text in texts)


# --- pairs -------------------------------------------------------------------------------------


def test_pairs_have_the_second_texts_type(tokenizer: Any) -> None:
    data = encoded(tokenizer, ["a good film", ""], 16, pairs=["bad", "very"])
    assert data.ids == ((CLS, 5, 6, 8, SEP, 7, SEP), (CLS, SEP, 9, SEP))
    assert data.types == ((0, 0, 0, 0, 0, 1, 1), (0, 0, 1, 1))
    batch = data.batch([1, 0])
    assert batch.inputs["token_type_ids"][0].tolist() == [0, 0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (8, (CLS, 5, 6, 7, 8, SEP, 9, SEP)),
        (7, (CLS, 5, 6, 7, SEP, 9, SEP)),
        (5, (CLS, 5, SEP, 9, SEP)),
    ],
)
def test_of_a_pair_the_longer_text_is_cut_first(
    tokenizer: Any, length: int, expected: tuple[int, ...]
) -> None:
    (ids,) = encoded(tokenizer, ["a good bad film"], length, pairs=["very"]).ids
    assert ids == expected


def decoders(end: str | None, *, begins: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer that writes a pair's texts one after the other, perhaps behind a beginning."""
    vocabulary = {"<unk>": 0, "a": 1, "b": 2, "c": 3, "<end>": 4, "<begin>": 5}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begins:
        words.post_processor = TemplateProcessing(
            single="<begin>:0 $A:0", pair="<begin>:0 $A:0 $B:1", special_tokens=[("<begin>", 5)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=end,
        unk_token="<unk>",
        bos_token="<begin>" if begins else None,
    )


@pytest.mark.parametrize(
    ("text", "pair", "expected"),
    [
        ("a a a a a a a a", "c", (1, 1, 1, 1, 4, 3)),
        ("a", "c c c c c c c c", (1, 4, 3, 3, 3, 3)),
        ("a a a a a a", "c c c c c c", (1, 1, 1, 4, 3, 3)),
        ("a a", "c", (1, 1, 4, 3)),
    ],
)
def test_a_decoders_pair_keeps_both_texts(text: str, pair: str, expected: tuple[int, ...]) -> None:
    assert encoded(decoders("<end>"), [text], 6, pairs=[pair]).ids == (expected,)
    begun = encoded(decoders("<end>", begins=True), [text], 7, pairs=[pair])
    assert begun.ids == ((5, *expected),)


@pytest.mark.parametrize("end", ["<end>", None])
def test_a_decoders_pair_has_something_between_its_texts(end: str | None) -> None:
    """Its tokenizer writes one text after the other, and `a b` with `c` would be `a` with `b c`."""
    tokenizer = decoders(end)
    one = encoded(tokenizer, ["a b"], 16, pairs=["c"])
    assert one.ids == ((1, 2, 4, 3) if end else (1, 2, 3),)
    assert one.types == ()
    if end:
        assert encoded(tokenizer, ["a"], 16, pairs=["b c"]).ids != one.ids
