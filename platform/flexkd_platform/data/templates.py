"""Templates that convert an instruction to a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .conversations import prompt_json

ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
)
"""Without an input. Stanford Alpaca's prompt, as in the code of MiniLLM and DistiLLM."""

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)

TEMPLATES: dict[str, tuple[str, str]] = {
    "alpaca": (ALPACA, ALPACA_WITH_INPUT),
    "none": ("{instruction}", "{instruction}\n\n{input}"),
}
"""By name: without an input, and with one."""

_FIELD = re.compile(r"\{(?:instruction|input)\}")
_NO_INPUT = re.compile(r"\s*(<?no[ _-]?input>?\s*)?", re.IGNORECASE)


def prompt_of(instruction: str, given: str | None, template: str) -> str:
    """The prompt of an instruction and its input, up to where the response starts.

    Args:
        instruction: what is to be done.
        given: the input; None, a blank one and Alpaca's `<noinput>` mean no input.
        template: a name of `TEMPLATES`, or `chat`, for which the prompt is a conversation of one
            question, which has no template of its own (see `conversations.prompt_json`).
    """
    if template == "chat":
        question = prompt_of(instruction, given, "none")
        return prompt_json([{"role": "user", "content": question}])
    without, with_input = TEMPLATES[template]
    if given is None or _NO_INPUT.fullmatch(given):
        return without.format(instruction=instruction)
    return with_input.format(instruction=instruction, input=given)


@dataclass(frozen=True)
class PromptParts:
    """A prompt, with the texts of its template apart from what a user wrote.

    fixed: what is before the first content, between two contents, and after the last one.
    contents: instruction, or instruction and input.
    """

    fixed: tuple[str, ...]
    contents: tuple[str, ...]

    def joined(self, contents: Sequence[str]) -> str:
        """The prompt with other contents."""
        between = zip(self.fixed, (*contents, ""), strict=True)
        return "".join(part for pair in between for part in pair)

    def shorter(self) -> tuple[PromptParts, ...]:
        """The same prompt with less text of the template: without its introduction; and with no
        more than the end, which says where the response starts.
        """
        head = self.fixed[0].partition("\n\n")[2]
        between = ("\n\n",) * (len(self.fixed) - 2)
        bare = ("", *between, self.fixed[-1])
        return (replace(self, fixed=(head, *self.fixed[1:])), replace(self, fixed=bare))


def split_prompt(prompt: str, template: str) -> PromptParts:
    """The parts of a prompt that `prompt_of` made with a template that has a text of its own.

    Raises:
        ValueError: it is not a prompt of this template.
    """
    for made in reversed(TEMPLATES[template]):  # the one with an input has a beginning of its own
        fixed = tuple(_FIELD.split(made))
        head, tail = fixed[0], fixed[-1]
        if prompt.startswith(head) and prompt.endswith(tail):
            content = prompt[len(head) : len(prompt) - len(tail)]
            contents = tuple(content.split(fixed[1], 1)) if len(fixed) == 3 else (content,)
            if len(contents) == len(fixed) - 1:
                return PromptParts(fixed, contents)
    raise ValueError(f"the prompt {prompt[:40]!r} is not one of the template {template}")
