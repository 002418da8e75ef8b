"""Pair the tokens of two tokenizers that have read the same characters.

A row of a model's hidden states or outputs gets a mark: the number of characters of the text that
the model has read there, without trailing white space. Rows of two models with the same mark are
paired; the others have no partner. Marks come from the offset mapping of fast tokenizers.

- A row that predicts a token of a response has read the tokens before it. The row that predicts the
  end token is paired only with that of the other model.
- A row of an encoder is the token itself, and has read its last character. Special tokens have no
  mark.
- Between the tokens of one character, as of a byte-level vocabulary, no whole character is read: no
  mark.
- Where several rows have read the same characters, since white space is a token, the first counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

Mark = int | None
"""Characters that are read at a row; `END` for the end token; None without a mark."""

END = -1

Offsets = Sequence[tuple[int, int]]


def response_marks(tokenizer: Any, text: str, rows: int) -> list[Mark]:
    """The marks of the rows that predict a response.

    Args:
        tokenizer: a fast one.
        text: the response.
        rows: tokens that it was encoded as, possibly truncated; one more than the text has where it
            ends in an end token.
    """
    return predicting_marks(_offsets(tokenizer, text), text)[:rows]


def predicting_marks(offsets: Offsets, text: str) -> list[Mark]:
    """The marks of the rows that predict each token, and of the one that predicts the end."""
    read = [0, *accumulate((end for _, end in offsets), max)]
    marks = [
        _characters(text, before) if before <= start else None
        for before, (start, _) in zip(read, offsets, strict=False)
    ]
    return [*_first_of_each(marks), END]


def document_marks(tokenizer: Any, text: str, limit: int) -> list[Mark]:
    """The marks of a document's tokens, special ones included, truncated to `limit` tokens."""
    cut = tokenizer(text, truncation=True, max_length=limit, return_special_tokens_mask=True)
    special = cut["special_tokens_mask"]
    # Marks are those of the whole document: a token at its cut may be part of a character.
    marks, kept = token_marks(_offsets(tokenizer, text), text), special.count(0)
    left = iter(marks[len(marks) - kept :] if tokenizer.truncation_side == "left" else marks)
    return [None if flag else next(left) for flag in special]


def token_marks(offsets: Offsets, text: str) -> list[Mark]:
    """The mark of each token of a whole text: where its last character ends."""
    read = accumulate((end for _, end in offsets), max)
    following = [*(start for start, _ in offsets[1:]), len(text)]
    return _first_of_each(
        [
            (_characters(text, end) or None) if end <= start else None
            for end, start in zip(read, following, strict=False)
        ]
    )


def _offsets(tokenizer: Any, text: str) -> Offsets:
    """The characters of each token of a text, without special tokens."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets: Offsets = encoded["offset_mapping"]
    return offsets


def paired_rows(
    ours: Sequence[Mark], theirs: Sequence[Mark]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rows of both sides with equal marks, in order: as many of one side as of the other."""
    places = {mark: place for place, mark in enumerate(theirs) if mark is not None}
    pairs = [(row, places[mark]) for row, mark in enumerate(ours) if mark in places]
    return tuple(row for row, _ in pairs), tuple(place for _, place in pairs)


def _characters(text: str, end: int) -> int:
    """The number of characters before `end` without trailing white space."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _first_of_each(marks: Sequence[Mark]) -> list[Mark]:
    seen: set[Mark] = set()
    kept: list[Mark] = []
    for mark in marks:
        kept.append(None if mark in seen else mark)
        seen.add(mark)
    return kept
