"""Encode a split's table as examples, for a task and a model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import torch

from ..artifacts import LabelUnit, Response, is_label_list, multi_hot
from ..plan import LabelReading, Reading, ResponseReading
from ..tasks import (
    Chat,
    ChatPrompt,
    Encoded,
    Examples,
    GenerationExamples,
    Lengths,
    encode_documents,
    encode_prompts,
    encode_responses,
    encode_texts,
    messages_of,
)


def encode(
    table: pa.Table,
    tokenizer: Any,
    reading: Reading,
    *,
    responses: Sequence[Response] | None = None,
    decoder_start_id: int | None = None,
    training: bool = False,
    unit: LabelUnit | None = None,
) -> Examples:
    """Encode the rows of a split as examples.

    Args:
        table: as the dataset step wrote it.
        reading: how the model reads the task's examples.
        responses: used instead of the table's responses; earlier answers of a conversation are
            then no targets.
        decoder_start_id: of an encoder–decoder's config.
        training: whether batches are for training, which may be packed.
        unit: of the model's output, for regression; the labels are converted to it.
    """
    if isinstance(reading, LabelReading):
        return _labelled(table, tokenizer, reading, unit)
    given = responses is None
    if responses is None:
        responses = [(text, True) for text in table["response"].to_pylist()]
    prompts = encode_inputs(table, tokenizer, reading)
    answers = _response_ids(table, responses, tokenizer, reading)
    return GenerationExamples(
        prompts=tuple(map(tuple, prompts.ids)),
        responses=tuple(map(tuple, answers.ids)),
        pad_id=tokenizer.pad_token_id,
        encoder_decoder=reading.from_encoder,
        decoder_start_id=decoder_start_id,
        earlier=prompts.earlier if given else (),
        lengths={"prompts": prompts.lengths, "responses": answers.lengths},
        packed=reading.max_prompt + reading.max_response if training and reading.packing else 0,
    )


@dataclass(frozen=True)
class EncodedPrompts(Encoded):
    """Prompts. earlier: see `GenerationExamples`; empty except for conversations."""

    earlier: tuple[tuple[int, ...], ...] = ()


def encode_inputs(
    table: pa.Table,
    tokenizer: Any,
    reading: ResponseReading,
    protocol: Literal["clean", "minillm"] = "clean",
) -> EncodedPrompts:
    """The token ids of a table's prompts or documents."""
    prompts, limit = table["prompt"].to_pylist(), reading.max_prompt
    if reading.from_encoder:
        found = encode_documents(tokenizer, prompts, limit=limit)
    elif reading.template == "chat":
        return _conversations(prompts, tokenizer, limit)
    else:
        found = encode_prompts(
            tokenizer, prompts, limit=limit, template=reading.template, protocol=protocol
        )
    return EncodedPrompts(found.ids, found.lengths)


def end_of_response(tokenizer: Any, reading: ResponseReading) -> int:
    """The token that ends a response: the end of sequence, or of a turn in a chat template."""
    return Chat(tokenizer).end_id if reading.template == "chat" else int(tokenizer.eos_token_id)


def _conversations(prompts: Sequence[str], tokenizer: Any, limit: int) -> EncodedPrompts:
    chat = Chat(tokenizer)
    found: list[ChatPrompt] = [chat.prompt(messages_of(one), limit=limit) for one in prompts]
    earlier = tuple(one.earlier for one in found)
    return EncodedPrompts(
        [list(one.ids) for one in found],
        Lengths.of([one.length for one in found], limit),
        earlier if any(earlier) else (),
    )


def _labelled(
    table: pa.Table, tokenizer: Any, reading: LabelReading, unit: LabelUnit | None
) -> Examples:
    kind = table.schema.field("label").type
    whole = pa.types.is_integer(kind)
    if is_label_list(kind):
        labels_N = multi_hot(table["label"], reading.outputs)
    else:
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


def _response_ids(
    table: pa.Table, responses: Sequence[Response], tokenizer: Any, reading: ResponseReading
) -> Encoded:
    """Token ids, with an end token unless the response was truncated."""
    limit = reading.max_response
    if reading.template == "chat":
        chat, prompts = Chat(tokenizer), table["prompt"].to_pylist()
        answers = [
            chat.response(messages_of(prompt), text, ended=ended)
            for prompt, (text, ended) in zip(prompts, responses, strict=True)
        ]
        # A response needs a token, which a model that stopped at once did not write.
        kept = [(answer or [chat.end_id])[:limit] for answer in answers]
        return Encoded(kept, Lengths.of([len(answer) for answer in answers], limit))
    eos_id = tokenizer.eos_token_id
    texts = [text for text, _ in responses]
    encoded = encode_responses(tokenizer, texts, limit=limit, eos_id=eos_id)
    for ids, (_, ended) in zip(encoded.ids, responses, strict=True):
        if not ended and len(ids) > 1 and ids[-1] == eos_id:
            ids.pop()
    return encoded
