"""Conversations of data sets: lists of messages in their common formats, as one format.

OpenAI's and TRL's messages are `{role, content}`, ShareGPT's `{from, value}`. TRL's conversational
prompt–completion rows have two such lists.
"""

from __future__ import annotations

import json
from typing import Any

from .responses import shown, whole

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
"""Roles of data sets, and what chat templates call them."""

Message = dict[str, str]


def conversation_of(value: Any) -> list[Message]:
    """The messages of a row: perhaps one of the system, then user and assistant in turn.

    Args:
        value: a list of messages; None or an empty list has nothing to learn.

    Returns:
        The messages as `{role, content}`; empty for a row to skip.

    Raises:
        ValueError: it is anything else; the message says what, and where in the conversation.
    """
    if value is None or value == []:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is not a list of messages")
    messages = [_message(entry, place) for place, entry in enumerate(value, start=1)]
    rest = messages[1:] if messages[0]["role"] == "system" else messages
    for place, message in enumerate(rest):
        expected = "user" if place % 2 == 0 else "assistant"
        if message["role"] != expected:
            number = place + 1 + len(messages) - len(rest)
            raise ValueError(f"message {number} is of {message['role']}, not of {expected}")
    if len(rest) % 2:
        raise ValueError(f"message {len(messages)}, the last one, is of user and has no answer")
    return messages if rest else []


def _message(entry: Any, place: int) -> Message:
    where = f"message {place}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is {shown(entry)}, not an object with role and content")
    keys = ("role", "content") if "role" in entry else ("from", "value")
    role, content = (entry.get(key) for key in keys)
    if not isinstance(role, str):
        raise ValueError(f"{where}, {shown(entry)}, has no role")
    if role.lower() not in ROLES:
        raise ValueError(f"{where} is of the unknown role {shown(role)}")
    if entry.get("tool_calls") or entry.get("function_call"):
        raise ValueError(f"{where} calls a tool, which is not supported")
    if entry.get("weight", 1) not in (None, 1):
        raise ValueError(f"{where} has the weight {shown(entry['weight'])}, which is not supported")
    text = _text(content, where)
    if not text.strip():
        raise ValueError(f"{where} is empty")
    return {"role": ROLES[role.lower()], "content": whole(text)}


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where}, {shown(content)}, is not text")
    return "".join(str(text) for text in texts)


def prompt_json(messages: list[Message]) -> str:
    """Messages as a data set stores them: JSON without spaces."""
    return json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
