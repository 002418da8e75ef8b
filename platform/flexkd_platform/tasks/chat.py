"""Conversations as token ids, by the chat template of a tokenizer.

A conversation is a list of messages `{role, content}`: perhaps one of `system`, then `user` and
`assistant` in turn. Its prompt ends with a message of the user.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from .prompts import NoRoomError
from .truncation import plain_ids, truncated

Messages = Sequence[dict[str, str]]

TODAY = datetime(2024, 7, 26)
"""The date that templates with a date write, which is the default of Llama 3's: the same texts give
the same tokens on every day."""

_FORMATS = ("%d %b %Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d/%m/%Y", "%A, %d %B %Y", "%Y")
_FIXED_DATE = (
    "{% macro strftime_now(format) %}{{ "
    f"{ {each: TODAY.strftime(each) for each in _FORMATS} }"
    f".get(format, '{TODAY:%Y-%m-%d}')"
    " }}{% endmacro %}"
)
"""Replaces the clock that transformers gives to templates."""

_QUESTION, _ANSWER = "flexkd question", "flexkd answer"
"""Contents that no template contains."""


class ChatTemplateError(ValueError):
    """A tokenizer whose chat template cannot be used. remedy: what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message, self.remedy = message, remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


@dataclass(frozen=True)
class ChatPrompt:
    """The prompt of a conversation.

    ids: up to where the last message of the assistant starts.
    earlier: positions of the tokens of its earlier messages, each with the end of its turn.
    length: tokens of the whole prompt, before messages were left out or truncated.
    """

    ids: tuple[int, ...]
    earlier: tuple[int, ...] = ()
    length: int = 0


@dataclass(frozen=True, eq=False)
class Chat:
    """A tokenizer with its chat template. Special tokens are those of the template alone: a
    beginning-of-sequence token is neither added to it nor doubled.
    """

    tokenizer: PreTrainedTokenizerBase

    @property
    def template(self) -> str:
        """The tokenizer's chat template, the default one of several; "" if it has none."""
        found: Any = self.tokenizer.chat_template
        if isinstance(found, dict):
            found = found.get("default")
        return found or ""

    def text(self, messages: Messages, *, answered: bool) -> str:
        """The conversation as text; answered: it ends with a message of the assistant, otherwise
        with the start of one.

        Raises:
            ChatTemplateError: there is no template, or it refuses the conversation.
        """
        from jinja2 import TemplateError  # as transformers does, when a template is used

        template = self.template
        if not template:
            raise ChatTemplateError(
                "the tokenizer has no chat template",
                "name a chat model, or add the template of one to the model's folder as "
                "chat_template.jinja; rows of instructions can use task.template: alpaca",
            )
        try:
            text: Any = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=not answered,
                chat_template=_FIXED_DATE + template if "strftime_now" in template else template,
                date_string=TODAY.strftime("%d %b %Y"),
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ChatTemplateError(
                f"the tokenizer's chat template refuses the roles {roles}: {error}",
                "use a model whose template takes them, or leave messages of the system out",
            ) from None
        return str(text)

    @cached_property
    def turn_end(self) -> str:
        """What the template writes after a message of the assistant, without white space."""
        whole = self.text([_user(_QUESTION), _assistant(_ANSWER)], answered=True)
        return whole.rpartition(_ANSWER)[2].strip()

    @cached_property
    def end_id(self) -> int:
        """The token that ends a message of the assistant: the template's, if it is a special one,
        otherwise the tokenizer's end-of-sequence token.
        """
        ids = plain_ids(self.tokenizer, self.turn_end) if self.turn_end else []
        added = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        return ids[0] if ids and ids[0] in added else int(self.tokenizer.eos_token_id)

    def check(self, *, system: bool, turns: bool) -> None:
        """Try the template on a short conversation.

        Args:
            system, turns: whether there are conversations with a message of the system, and with
                several messages of the assistant.

        Raises:
            ChatTemplateError: it cannot be used.
        """
        if not self.tokenizer.is_fast:
            raise ChatTemplateError(
                "the tokenizer is a slow one, which does not tell the positions of its tokens",
                "name a model with a tokenizer.json",
            )
        messages = [_user(_QUESTION)]
        if turns:
            messages = [_user(_QUESTION), _assistant(_ANSWER), *messages]
        if system:
            messages = [{"role": "system", "content": "flexkd system"}, *messages]
        self.prompt(messages, limit=1 << 20)
        self.response(messages, _ANSWER)

    def prompt(self, messages: Messages, *, limit: int) -> ChatPrompt:
        """Encode a conversation up to the start of its last answer.

        A prompt of more than `limit` tokens loses its oldest questions with their answers; the
        message of the system stays. If the rest is too long, that message and the last question are
        truncated at their ends, see `truncated`.

        Raises:
            NoRoomError: the template alone fills the limit.
            ChatTemplateError: the template cannot be used.
        """
        first = 1 if messages[0]["role"] == "system" else 0
        kept = list(messages)
        found = self._encoded(kept)
        length = len(found.ids)
        while len(found.ids) > limit and len(kept) > first + 1:
            del kept[first : first + 2]
            found = self._encoded(kept)
        if len(found.ids) <= limit:
            return replace(found, length=length)

        def ids_of(contents: Sequence[str]) -> list[int]:
            changed = [
                {**message, "content": content}
                for message, content in zip(kept, contents, strict=True)
            ]
            return plain_ids(self.tokenizer, self.text(changed, answered=False))

        contents = [message["content"] for message in kept]
        ids = truncated(self.tokenizer, contents, ids_of, limit)
        if ids is None:
            raise NoRoomError(limit, len(ids_of([""] * len(contents))), "chat template")
        return ChatPrompt(tuple(ids), (), length)

    def response(self, messages: Messages, answer: str, *, ended: bool = True) -> list[int]:
        """The tokens of an answer to a prompt; the last one ends the turn if `ended`.

        Raises:
            ChatTemplateError: the template does not write the answer after its prompt.
        """
        start = self.text(messages, answered=False)
        whole = self.text([*messages, _assistant(answer)], answered=True)
        if not whole.startswith(start):
            raise ChatTemplateError(
                "the tokenizer's chat template does not continue its prompt with the answer",
                "use a model whose template does, or task.template: alpaca",
            )
        text = whole[len(start) :].rstrip()
        text = text.removesuffix(self.turn_end).rstrip() if self.turn_end else text
        ids = plain_ids(self.tokenizer, text)
        return [*ids, self.end_id] if ended else ids

    def _encoded(self, messages: Messages) -> ChatPrompt:
        """The whole prompt, with the positions of the assistant's messages."""
        text = self.text(messages, answered=False)
        spans = [
            self._span(messages[:place], message["content"], text)
            for place, message in enumerate(messages)
            if message["role"] == "assistant"
        ]
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        earlier = [
            place
            for place, (start, end) in enumerate(encoded["offset_mapping"])
            if start < end and any(first <= start < last for first, last in spans)
        ]
        return ChatPrompt(tuple(encoded["input_ids"]), tuple(earlier))

    def _span(self, before: Messages, answer: str, text: str) -> tuple[int, int]:
        """Where an answer stands in the text of a conversation, with the end of its turn."""
        prompt = self.text(before, answered=False)
        place = text.find(answer.strip(), len(prompt)) if text.startswith(prompt) else -1
        if place < 0:
            raise ChatTemplateError(
                "the tokenizer's chat template rewrites earlier messages, so that the tokens of "
                "the assistant are not known",
                "use conversations of one question and one answer, or another model's template",
            )
        end = place + len(answer.strip())
        after = text[end:]
        if self.turn_end and after.lstrip().startswith(self.turn_end):
            end += len(after) - len(after.lstrip()) + len(self.turn_end)
        return len(prompt), end


def messages_of(prompt: str) -> list[dict[str, str]]:
    """The messages of a prompt as a data set stores it."""
    found: list[dict[str, str]] = json.loads(prompt)
    return found


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}
