"""Batches of texts: padding is never seen, order and content are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from flexkd_platform.tasks import Encoded, encode_texts

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


@given(st.lists(IDS, min_size=1, max_size=5), st.integers(0, 11))
def test_a_batch_holds_its_rows_and_padding(rows: list[tuple[int, ...]], pad_id: int) -> None:
    data = Encoded(tuple(rows), pad_id)
    chosen = list(range(len(rows)))[::-1] * 2
    ids_BT, mask_BT = data.batch(chosen)
    assert ids_BT.dtype == mask_BT.dtype == torch.int64
    assert ids_BT.shape == mask_BT.shape == (len(chosen), max(map(len, rows)))
    for place, row in enumerate(chosen):
        length = len(rows[row])
        assert ids_BT[place, :length].tolist() == list(rows[row])
        assert mask_BT[place].tolist() == [1] * length + [0] * (mask_BT.shape[1] - length)
        assert (ids_BT[place, length:] == pad_id).all()
    assert len(data) == len(rows)


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(IDS, min_size=2, max_size=4), pad_id=st.integers(0, 11))
@torch.no_grad()
def test_padding_does_not_change_an_output(
    model: Any, rows: list[tuple[int, ...]], pad_id: int
) -> None:
    data = Encoded(tuple(rows), pad_id)
    ids_BT, mask_BT = data.batch(range(len(rows)))
    together_BC = model(input_ids=ids_BT, attention_mask=mask_BT).logits
    for row in range(len(rows)):
        ids_1T, mask_1T = data.batch([row])
        alone_1C = model(input_ids=ids_1T, attention_mask=mask_1T).logits
        torch.testing.assert_close(together_BC[row], alone_1C[0], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_an_output_depends_on_every_token(model: Any) -> None:
    """The law above would also hold for a model that reads nothing."""
    one_1C, other_1C = (
        model(input_ids=ids_1T, attention_mask=mask_1T).logits
        for ids_1T, mask_1T in (Encoded(((5, 6, last),), 0).batch([0]) for last in (7, 8))
    )
    assert (one_1C - other_1C).abs().max() > 1e-3


def test_texts_as_ids(tokenizer: Any) -> None:
    data = encode_texts(tokenizer, ["a good film", "Unknown", ""], 16)
    assert data.ids == ((CLS, 5, 6, 8, SEP), (CLS, UNK, SEP), (CLS, SEP))
    assert data.pad_id == 0


@pytest.mark.parametrize("length", [3, 4, 5, 6])
def test_texts_are_cut_with_their_special_tokens(tokenizer: Any, length: int) -> None:
    (ids,) = encode_texts(tokenizer, ["a good bad film very"], length).ids
    assert len(ids) == length
    assert (ids[0], ids[-1]) == (CLS, SEP)
    assert ids[1:-1] == (5, 6, 7, 8)[: length - 2]


def test_texts_are_encoded_one_by_one(tokenizer: Any) -> None:
    texts = ["a good film", "bad", "very very good"]
    together = encode_texts(tokenizer, texts, 16)
    assert together.ids == tuple(encode_texts(tokenizer, [text], 16).ids[0] for text in texts)
