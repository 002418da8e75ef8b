"""How many texts of a data set are longer than the models of a job read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from ..plan import Reading, ResponseReading
from ..spec import sha256_of
from ..tasks import Chat, Examples, NoRoomError, encode_documents
from .encoding import encode


def lengths_json(examples: Examples) -> dict[str, Any]:
    """Rows, and for each kind of text how many are truncated and the longest whole one's tokens."""
    kinds = {name: asdict(lengths) for name, lengths in examples.lengths.items()}
    return {"rows": len(examples), **kinds}


def measure(
    tables: Mapping[str, pa.Table], tokenizer: Any, reading: Reading, *, prefix: str = ""
) -> dict[str, Any]:
    """`lengths_json` of every table, by its name.

    Args:
        prefix: of the documents of a summarization task.

    Raises:
        NoRoomError: `max_prompt` has no room beside the prompts' template or prefix.
        ChatTemplateError: the chat template cannot write a conversation.
    """
    if prefix and isinstance(reading, ResponseReading):
        needed = encode_documents(tokenizer, [prefix], limit=1 << 20).lengths.longest
        if needed >= reading.max_prompt:
            raise NoRoomError(reading.max_prompt, needed, "prefix")
    # The token that a decoder starts from has no influence on lengths.
    return {
        name: lengths_json(encode(table, tokenizer, reading, decoder_start_id=0))
        for name, table in tables.items()
    }


def chat_digest(tokenizer: Any) -> str:
    """Hex SHA-256 of the tokenizer's chat template."""
    return sha256_of(Chat(tokenizer).template)
