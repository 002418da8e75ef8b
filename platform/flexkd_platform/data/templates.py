"""Templates that convert an instruction to a prompt."""

from __future__ import annotations

import re

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

RESPONSE_MARKERS: dict[str, str] = {"alpaca": "\n\n### Response:\n", "none": ""}
"""The end of every prompt, which must be kept when a long one is truncated."""

_NO_INPUT = re.compile(r"\s*(<?no[ _-]?input>?\s*)?", re.IGNORECASE)


def prompt_of(instruction: str, given: str | None, template: str) -> str:
    """The prompt of an instruction and its input, up to where the response starts.

    Args:
        instruction: what is to be done.
        given: the input; None, a blank one and Alpaca's `<noinput>` mean no input.
        template: a name of `TEMPLATES`.
    """
    without, with_input = TEMPLATES[template]
    if given is None or _NO_INPUT.fullmatch(given):
        return without.format(instruction=instruction)
    return with_input.format(instruction=instruction, input=given)
