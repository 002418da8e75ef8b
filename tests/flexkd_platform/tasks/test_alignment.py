"""Tokens of two tokenizers are paired where both have read the same characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.normalizers import Lowercase
from transformers import PreTrainedTokenizerFast

from flexkd_platform.models.base_tokenizer import train_tokenizer
from flexkd_platform.tasks import document_marks, encode_documents, encode_responses, paired_rows
from flexkd_platform.tasks.alignment import END, predicting_marks, response_marks, token_marks

TEXTS = ["the tall tree falls", "the stone runs", "naïve café 你好 🙂 fin", "red  blue\n\nold"]


def byte_level(trim: bool = False, words: int = 300) -> Any:
    """A byte-level BPE; `trim`: offsets without leading spaces, as GPT-2 and RoBERTa have."""
    made = train_tokenizer(TEXTS * 3, words, "bart", 64)
    if trim:
        inner = made.backend_tokenizer
        inner.post_processor = processors.Sequence(
            [processors.ByteLevel(trim_offsets=True), inner.post_processor]
        )
    return made


def word_level() -> Any:
    """Words and punctuation, lower case, between [CLS] and [SEP]; unknown words are one token."""
    names = sorted({w for text in TEXTS for w in text.lower().split()})
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *names]
    vocab = {word: place for place, word in enumerate(names)}
    inner = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    inner.normalizer = Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", eos_token="[SEP]", cls_token="[CLS]"
    )


def metaspace(prepend: str = "first") -> Any:
    """One token for each character, with ▁ for a space, as SentencePiece has it."""
    letters = sorted({c for text in TEXTS for c in text if not c.isspace()})
    vocab = {token: place for place, token in enumerate(["<pad>", "</s>", "<unk>", "▁", *letters])}
    inner = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>")


KINDS: dict[str, Callable[[], Any]] = {
    "bytes": byte_level,
    "trimmed bytes": lambda: byte_level(trim=True),
    "few bytes": lambda: byte_level(words=262),
    "words": word_level,
    "characters": metaspace,
    "characters without a prefix": lambda: metaspace("never"),
}


# --- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "offsets", "marks"),
    [
        # One row more than tokens: the one that predicts the end.
        ("ab cd", [(0, 2), (2, 5)], [0, 2, END]),
        # The space belongs to the word after it, or to the one before, or to none of both.
        ("ab cd", [(0, 2), (3, 5)], [0, 2, END]),
        ("ab cd", [(0, 3), (3, 5)], [0, 2, END]),
        # It is a token: the row before it and the one after it have read the same.
        ("ab cd", [(0, 2), (2, 3), (3, 5)], [0, 2, None, END]),
        # A leading space, and a token for the start of the text alone.
        (" ab", [(0, 3)], [0, END]),
        ("ab", [(0, 0), (0, 2)], [0, None, END]),
        # The two tokens of one character: between them no character is read.
        ("a你b", [(0, 1), (1, 2), (1, 2), (2, 3)], [0, 1, None, 2, END]),
        # A token with the last byte of a character and the next character.
        ("你b", [(0, 1), (0, 2)], [0, None, END]),
        ("", [], [END]),
        ("a ", [(0, 1), (1, 2)], [0, 1, END]),
    ],
)
def test_a_row_has_read_the_tokens_before_it(
    text: str, offsets: list[tuple[int, int]], marks: list[int | None]
) -> None:
    assert predicting_marks(offsets, text) == marks


@pytest.mark.parametrize(
    ("text", "offsets", "marks"),
    [
        ("ab cd", [(0, 2), (2, 5)], [2, 5]),
        ("ab cd", [(0, 3), (3, 5)], [2, 5]),
        ("ab cd", [(0, 2), (2, 3), (3, 5)], [2, None, 5]),
        ("a你", [(0, 1), (1, 2), (1, 2)], [1, None, 2]),
        ("你b", [(0, 1), (0, 2)], [None, 2]),
        (" ab ", [(0, 1), (1, 3)], [None, 3]),
        ("", [], []),
    ],
)
def test_a_token_has_read_its_last_character(
    text: str, offsets: list[tuple[int, int]], marks: list[int | None]
) -> None:
    assert token_marks(offsets, text) == marks


def test_special_tokens_have_no_mark() -> None:
    assert document_marks(word_level(), "the tall tree", 99) == [None, 3, 8, 13, None]
    assert document_marks(word_level(), "the tall tree", 4) == [None, 3, 8, None]
    assert document_marks(metaspace(), "the", 99) == [None, 1, 2, 3, None]
    assert document_marks(metaspace("never"), "the", 99) == [1, 2, 3, None]


def test_rows_are_paired_by_equal_marks_in_order() -> None:
    assert paired_rows([0, None, 2, 5, END], [0, 3, 5, None, END]) == ((0, 3, 4), (0, 2, 4))
    assert paired_rows([0, 2], [0, 1, 2, END]) == ((0, 1), (0, 2))
    assert paired_rows([0, END], [0]) == ((0,), (0,))
    assert paired_rows([], [0, END]) == ((), ())


# --- of tokenizers -------------------------------------------------------------------------------


def test_words_and_bytes_meet_at_every_word() -> None:
    text = "the tall tree falls"
    words, bytes_ = word_level(), byte_level(words=262)
    rows = len(encode_responses(words, [text], limit=99, eos_id=2).ids[0])
    more = len(encode_responses(bytes_, [text], limit=99, eos_id=2).ids[0])
    ours = response_marks(words, text, rows)
    assert ours == [0, 3, 8, 13, END]
    theirs = response_marks(bytes_, text, more)
    assert len(theirs) == more > rows
    assert paired_rows(ours, theirs)[0] == (0, 1, 2, 3, 4)


def test_a_character_of_several_bytes_is_one_place() -> None:
    text = "café 你好 🙂 fin"
    bytes_, letters = byte_level(words=262), metaspace()
    assert len(bytes_("🙂", add_special_tokens=False).input_ids) == 4
    ours = response_marks(bytes_, text, 99)
    theirs = response_marks(letters, text, 99)
    # After every letter: c a f é 你 好 🙂 f i, and the start and the end.
    expected = {0, 1, 2, 3, 4, 6, 7, 9, 11, 12, END}
    assert {mark for mark in ours if mark is not None} == expected
    assert {mark for mark in theirs if mark is not None} == expected


def test_a_truncated_response_has_no_end() -> None:
    text = "the tall tree falls"
    (ids,) = encode_responses(word_level(), [text], limit=3, eos_id=2).ids
    assert response_marks(word_level(), text, len(ids)) == [0, 3, 8]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(st.text("ab é你🙂 \n.", max_size=12))
def test_every_tokenizer_meets_itself_everywhere_it_has_a_mark(kind: str, text: str) -> None:
    tokenizer = _made(kind)
    (ids,) = encode_responses(tokenizer, [text], limit=99, eos_id=1).ids
    marks = response_marks(tokenizer, text, len(ids))
    assert len(marks) == len(ids)
    assert marks[-1] == END
    found = [mark for mark in marks if mark is not None]
    assert found[:-1] == sorted(set(found[:-1]))
    assert paired_rows(marks, marks)[0] == paired_rows(marks, marks)[1]
    (document,) = encode_documents(tokenizer, [text], limit=99).ids
    whole = document_marks(tokenizer, text, 99)
    assert len(whole) == len(document)
    assert all(0 < mark <= len(text.rstrip()) for mark in whole if mark is not None)
    for limit in range(3, 8):
        (cut,) = encode_documents(tokenizer, [text], limit=limit).ids
        short = document_marks(tokenizer, text, limit)
        assert len(short) == len(cut)
        # What is not cut keeps its mark; special tokens have none.
        kept = [mark for mark, a, b in zip(whole, cut, document, strict=False) if a == b]
        assert [mark for mark in short if mark] == [mark for mark in kept if mark]


_KEPT: dict[str, Any] = {}


def _made(kind: str) -> Any:
    if kind not in _KEPT:
        _KEPT[kind] = KINDS[kind]()
    return _KEPT[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_paired_rows_have_read_the_same_text(kind: str, other: str) -> None:
    for text in ["the tall tree falls", "café 你好 🙂 fin", "red  blue\n\nold"]:
        read = []
        for tokenizer in (_made(kind), _made(other)):
            (ids,) = encode_responses(tokenizer, [text], limit=99, eos_id=1).ids
            offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ends = [max([0, *(e for _, e in offsets["offset_mapping"][:n])]) for n in range(99)]
            marks = response_marks(tokenizer, text, len(ids))
            read.append((marks, [text[: ends[n]].strip() for n in range(len(ids))]))
        (ours, our_text), (theirs, their_text) = read
        pairs = list(zip(*paired_rows(ours, theirs), strict=True))
        assert [our_text[a] for a, _ in pairs] == [their_text[b] for _, b in pairs]
        # The start, the end, and between words at the least.
        assert len(pairs) >= len(text.split()) + 1
