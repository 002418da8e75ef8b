"""Truncation of prompts inside what a user wrote, never inside the text around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Lengths:
    """How long texts are.

    cut: how many are truncated.
    longest: tokens of the longest whole one.
    bare: how many lost text of their template, in addition to their own.
    """

    cut: int = 0
    longest: int = 0
    bare: int = 0

    @classmethod
    def of(cls, lengths: Sequence[int], limit: int, bare: int = 0) -> Lengths:
        """Of texts that are truncated to `limit` tokens."""
        return cls(sum(length > limit for length in lengths), max(lengths, default=0), bare)


@dataclass(frozen=True)
class Encoded:
    """Texts as token ids, truncated. lengths: of the whole texts."""

    ids: list[list[int]]
    lengths: Lengths = Lengths()


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The token ids of a text, without special tokens around it."""
    # Not verbose: callers truncate texts that are longer than the model reads.
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def whole_lengths(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[Sequence[int]],
    limit: int,
    *texts: Sequence[str],
) -> list[int]:
    """Lengths of the whole texts (or pairs of texts) that gave `ids`, truncated to `limit`."""
    lengths = [len(row) for row in ids]
    full = [place for place, length in enumerate(lengths) if length >= limit]
    if full:
        given = [[column[place] for place in full] for column in texts]
        for place, row in zip(full, tokenizer(*given, verbose=False)["input_ids"], strict=True):
            lengths[place] = len(row)
    return lengths


def truncated(
    tokenizer: PreTrainedTokenizerBase,
    contents: Sequence[str],
    ids_of: Callable[[Sequence[str]], list[int]],
    limit: int,
) -> list[int] | None:
    """The ids of a prompt whose contents are truncated at their ends; None if there is no room.

    The longer one of two contents is truncated first: each keeps what the other leaves, at least
    half of the room.

    Args:
        contents: one or two texts that a user wrote, such as instruction and input.
        ids_of: the ids of the whole prompt with such contents.
        limit: the most tokens of the whole prompt.

    Returns:
        At most `limit` ids, those of a prompt that a tokenizer makes of a text; None if the prompt
        has `limit` tokens or more without contents.
    """
    ends = [_token_ends(tokenizer, text) for text in contents]
    room = limit - len(ids_of([""] * len(contents)))
    while room > 0:
        kept = _shares([len(each) for each in ends], room)
        texts = [
            text[: each[count - 1]] if count else ""
            for text, each, count in zip(contents, ends, kept, strict=True)
        ]
        ids = ids_of(texts)
        if len(ids) <= limit:
            return ids
        # A token may straddle the border of a content, and a half character becomes whole.
        room = min(room, sum(kept)) - (len(ids) - limit)
    return None


def _shares(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens are kept of each of one or two contents."""
    if len(lengths) == 1:
        return [min(lengths[0], room)]
    first, second = lengths
    kept = min(second, max(room // 2, room - first))
    return [min(first, room - kept), kept]


def _token_ends(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Where each token of a text ends, in characters; evenly spread if the tokenizer is slow."""
    if not tokenizer.is_fast:
        count = len(plain_ids(tokenizer, text))
        return [-(-len(text) * (place + 1) // count) for place in range(count)]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [end for _, end in encoded["offset_mapping"]]
