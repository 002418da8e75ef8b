"""Examples of conversations: the last answer is the response, what is before it the prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..spec import InstructionColumns, InstructionTask, Problem, SpecError, counted
from .columns import column_names
from .conversations import Message, conversation_of, prompt_json
from .prepared import Conversations, PreparedData
from .prompt_rows import CHUNK, Rows, finish
from .reading import Examples
from .responses import responses_array

LISTS = ("messages", "conversations")
"""Roles whose values are whole conversations."""

REMEDY = (
    "a conversation is a list of {role, content}: perhaps one of system, then user and assistant "
    "in turn; the last one is of assistant"
)


def has_conversations(table: pa.Table) -> bool:
    """Whether the rows of a source are conversations."""
    names = set(table.column_names)
    if names & set(LISTS):
        return True
    if "completion" not in names:
        return False
    lists = pc.starts_with(table["prompt"].combine_chunks().fill_null(""), "[")
    return bool(pc.any(lists).as_py())


def make_conversations(
    splits: Mapping[str, Examples], task: InstructionTask, path: str
) -> PreparedData:
    """One example for each conversation. Rows without messages are skipped and counted."""
    made = PreparedData(rules={"task": task.kind, "template": "chat"})
    if isinstance(task.data, InstructionColumns) and task.data.messages is not None:
        made.rules["columns"] = column_names(task.data)[0]
    made.conversations = Conversations()
    for name, examples in splits.items():
        rows, bad = Rows(), _Bad(examples, path)
        for place, value in enumerate(_values(examples.table)):
            try:
                messages = conversation_of(value)
            except ValueError as error:
                bad.add(place, str(error))
                continue
            if not messages:
                rows.skipped += 1
                continue
            made.conversations |= _kind(messages)
            prompt = prompt_json(messages[:-1])
            rows.add(prompt, [messages[-1]["content"]], prompt)
        made.problems += bad.problems()
        finish(rows, name, examples, "messages", path, made)
    return made


def as_instructions(examples: Examples, path: str) -> Examples:
    """Prompts with completions that are texts, as instructions with outputs.

    Args:
        path: of the data section in the spec.

    Raises:
        SpecError: a prompt is no text, or a completion neither a text nor a list of texts.
    """
    table = examples.table
    prompts, completions = (
        [None if text is None else json.loads(text) for text in table[name].to_pylist()]
        for name in ("prompt", "completion")
    )
    try:
        outputs = responses_array(completions, nested=False)
        instructions = pa.array(prompts, pa.string())
    except (ValueError, TypeError, pa.ArrowInvalid) as error:
        message = f"the prompts and completions of {examples.origin} are not texts: {error}"
        problem = Problem(path, message, "write texts, or lists of messages, in both")
        raise SpecError([problem]) from None
    return replace(examples, table=pa.table({"instruction": instructions, "output": outputs}))


def _values(table: pa.Table) -> Iterator[Any]:
    """The conversation of each row as it stands in the source."""
    names = [name for name in (*LISTS, "prompt", "completion") if name in table.column_names]
    for batch in table.select(names).to_batches(max_chunksize=CHUNK):
        for texts in zip(*(batch[name].to_pylist() for name in names), strict=True):
            parts = [None if text is None else json.loads(text) for text in texts]
            yield _joined(parts) if len(parts) == 2 else _list_of(parts[0])


def _list_of(value: Any) -> Any:
    """A conversation that is a string of JSON, as in CSV, as its list; a blank one is none."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value


def _joined(parts: list[Any]) -> Any:
    """A prompt and a completion as one conversation; a text is one message."""
    if any(part is None for part in parts):
        return None
    roles = ("user", "assistant")
    lists = [
        [{"role": role, "content": part}] if isinstance(part, str) else part
        for part, role in zip(parts, roles, strict=True)
    ]
    wrong = [part for part in lists if not isinstance(part, list)]
    return wrong[0] if wrong else [*lists[0], *lists[1]]


def _kind(messages: list[Message]) -> Conversations:
    system = messages[0]["role"] == "system"
    return Conversations(system, len(messages) - system > 2)


class _Bad:
    """Counts the rows of a split that are no conversations, and keeps the first problem."""

    def __init__(self, examples: Examples, path: str) -> None:
        self._examples, self._path = examples, path
        self._first = ""
        self._count = 0

    def add(self, place: int, what: str) -> None:
        self._count += 1
        self._first = self._first or f"{self._examples.row(place)}: {what}"

    def problems(self) -> list[Problem]:
        if not self._count:
            return []
        more = f" (and {counted(self._count - 1, 'more row')})" if self._count > 1 else ""
        return [Problem(f"{self._path}.messages", self._first + more, REMEDY)]
