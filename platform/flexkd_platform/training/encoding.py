"""A split's table as encoded examples, as the task and a model's tokenizer want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import torch

from ..data import RESPONSE_MARKERS
from ..spec import DECODING
from ..tasks import (
    Examples,
    GenerationExamples,
    encode_documents,
    encode_prompts,
    encode_responses,
    encode_texts,
)

GENERATION = frozenset(DECODING)
"""Tasks whose students write text."""


def encode(
    table: pa.Table,
    tokenizer: Any,
    reading: Mapping[str, Any],
    *,
    responses: Sequence[tuple[str, bool]] | None = None,
    decoder_start_id: int | None = None,
) -> Examples:
    """Rows of a split as examples.

    Args:
        table: as the data set step wrote it.
        reading: identity of a teacher or student: task, and how much of a text is kept.
        responses: in place of the table's own, each with whether it ended.
        decoder_start_id: of an encoder–decoder's config.
    """
    if reading["task"] not in GENERATION:
        labels = table["label"].to_numpy()
        whole = pa.types.is_integer(table.schema.field("label").type)
        return encode_texts(
            tokenizer,
            table["text"].to_pylist(),
            torch.tensor(labels).to(torch.long if whole else torch.float32),
            reading["max_length"],
            pairs=table["text_pair"].to_pylist() if "text_pair" in table.column_names else None,
            padding=reading["padding"],
        )
    if responses is None:
        responses = [(text, True) for text in table["response"].to_pylist()]
    eos_id = tokenizer.eos_token_id
    encoded = encode_responses(
        tokenizer, [text for text, _ in responses], limit=reading["max_response"], eos_id=eos_id
    )
    for ids, (_, ended) in zip(encoded, responses, strict=True):
        if not ended and len(ids) > 1 and ids[-1] == eos_id:
            ids.pop()
    return GenerationExamples(
        prompts=tuple(map(tuple, encode_inputs(table, tokenizer, reading))),
        responses=tuple(map(tuple, encoded)),
        pad_id=tokenizer.pad_token_id,
        encoder_decoder=reading["task"] == "summarization",
        decoder_start_id=decoder_start_id,
    )


def encode_inputs(
    table: pa.Table,
    tokenizer: Any,
    reading: Mapping[str, Any],
    protocol: Literal["clean", "minillm"] = "clean",
) -> list[list[int]]:
    """The token ids of a table's prompts or documents."""
    prompts, limit = table["prompt"].to_pylist(), reading["max_prompt"]
    if reading["task"] == "summarization":
        return encode_documents(tokenizer, prompts, limit=limit)
    marker = RESPONSE_MARKERS[reading["template"]]
    return encode_prompts(tokenizer, prompts, limit=limit, marker=marker, protocol=protocol)
