"""Encode a split's table as examples, for a task and a model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
import torch

from ..artifacts import LabelUnit, Response
from ..data import RESPONSE_MARKERS
from ..plan import LabelReading, Reading, ResponseReading
from ..tasks import (
    Examples,
    GenerationExamples,
    encode_documents,
    encode_prompts,
    encode_responses,
    encode_texts,
)


def encode(
    table: pa.Table,
    tokenizer: Any,
    reading: Reading,
    *,
    responses: Sequence[Response] | None = None,
    decoder_start_id: int | None = None,
    unit: LabelUnit | None = None,
) -> Examples:
    """Encode the rows of a split as examples.

    Args:
        table: as the dataset step wrote it.
        reading: how the model reads the task's examples.
        responses: used instead of the table's responses.
        decoder_start_id: of an encoder–decoder's config.
        unit: of the model's output, for regression; the labels are converted to it.
    """
    if isinstance(reading, LabelReading):
        return _labelled(table, tokenizer, reading, unit)
    if responses is None:
        responses = [(text, True) for text in table["response"].to_pylist()]
    return GenerationExamples(
        prompts=tuple(map(tuple, encode_inputs(table, tokenizer, reading))),
        responses=tuple(map(tuple, _response_ids(responses, tokenizer, reading.max_response))),
        pad_id=tokenizer.pad_token_id,
        encoder_decoder=reading.from_encoder,
        decoder_start_id=decoder_start_id,
    )


def encode_inputs(
    table: pa.Table,
    tokenizer: Any,
    reading: ResponseReading,
    protocol: Literal["clean", "minillm"] = "clean",
) -> list[list[int]]:
    """The token ids of a table's prompts or documents."""
    prompts, limit = table["prompt"].to_pylist(), reading.max_prompt
    if reading.from_encoder:
        return encode_documents(tokenizer, prompts, limit=limit)
    marker = RESPONSE_MARKERS[reading.template]
    return encode_prompts(tokenizer, prompts, limit=limit, marker=marker, protocol=protocol)


def _labelled(
    table: pa.Table, tokenizer: Any, reading: LabelReading, unit: LabelUnit | None
) -> Examples:
    whole = pa.types.is_integer(table.schema.field("label").type)
    labels_N = table["label"].to_numpy()
    if unit is not None:
        labels_N, whole = unit.standardised(labels_N), False
    return encode_texts(
        tokenizer,
        table["text"].to_pylist(),
        torch.tensor(labels_N).to(torch.long if whole else torch.float32),
        reading.max_length,
        pairs=table["text_pair"].to_pylist() if "text_pair" in table.column_names else None,
        padding=reading.padding,
    )


def _response_ids(responses: Sequence[Response], tokenizer: Any, limit: int) -> list[list[int]]:
    """Token ids, with an end token unless the response was truncated."""
    eos_id = tokenizer.eos_token_id
    texts = [text for text, _ in responses]
    encoded = encode_responses(tokenizer, texts, limit=limit, eos_id=eos_id)
    for ids, (_, ended) in zip(encoded, responses, strict=True):
        if not ended and len(ids) > 1 and ids[-1] == eos_id:
            ids.pop()
    return encoded
