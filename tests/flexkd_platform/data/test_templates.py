"""Prompts: what a template adds, and that its end is the marker that cutting keeps."""

from __future__ import annotations

import pytest

from flexkd_platform.data import RESPONSE_MARKERS
from flexkd_platform.data.templates import TEMPLATES, prompt_of

# The wording of tatsu-lab/stanford_alpaca (README, "Data Release"), which MiniLLM's data have.
WITHOUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\nName a bird.\n\n### Response:\n"
)
WITH = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "Name a bird.\n\n### Input:\nIt swims.\n\n### Response:\n"
)


def test_the_published_wording() -> None:
    assert prompt_of("Name a bird.", None, "alpaca") == WITHOUT
    assert prompt_of("Name a bird.", "It swims.", "alpaca") == WITH


def test_none_adds_nothing_but_a_blank_line() -> None:
    assert prompt_of("Name a bird.", None, "none") == "Name a bird."
    assert prompt_of("Name a bird.", "It swims.", "none") == "Name a bird.\n\nIt swims."


@pytest.mark.parametrize("template", list(TEMPLATES))
@pytest.mark.parametrize("given", [None, "", " \n", "<noinput>", "noinput", "No input\n"])
def test_no_input(template: str, given: str | None) -> None:
    assert prompt_of("Do it.", given, template) == prompt_of("Do it.", None, template)
    assert prompt_of("Do it.", "no inputs", template) != prompt_of("Do it.", None, template)


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_every_prompt_ends_with_its_marker(template: str) -> None:
    assert RESPONSE_MARKERS.keys() == TEMPLATES.keys()
    for given in [None, "of {this} {0}"]:
        prompt = prompt_of("Write {json} %s \\n", given, template)
        assert prompt.endswith(RESPONSE_MARKERS[template])
        assert "Write {json} %s \\n" in prompt
        assert given is None or given in prompt
