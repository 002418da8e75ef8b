"""Prompts: what a template adds, and its parts, of which truncation keeps the fixed ones."""

from __future__ import annotations

import pytest
from hypothesis import given as given_texts
from hypothesis import strategies as st

from flexkd_platform.data.templates import TEMPLATES, prompt_of, split_prompt

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
def test_a_prompt_keeps_what_it_is_made_of(template: str) -> None:
    marker = {"alpaca": "\n\n### Response:\n", "none": ""}[template]
    for given in [None, "of {this} {0}"]:
        prompt = prompt_of("Write {json} %s \\n", given, template)
        assert prompt.endswith(marker)
        assert "Write {json} %s \\n" in prompt
        assert given is None or given in prompt


TEXT = st.text(alphabet="ab#: \n", min_size=1, max_size=20) | st.just("\n\n### Input:\n")


@given_texts(TEXT, st.none() | TEXT)
def test_the_parts_of_a_prompt_make_it_again(instruction: str, given: str | None) -> None:
    prompt = prompt_of(instruction, given, "alpaca")
    parts = split_prompt(prompt, "alpaca")
    assert parts.joined(parts.contents) == prompt
    assert len(parts.contents) == (2 if prompt.startswith(WITH[:60]) else 1)
    for shorter in parts.shorter():
        assert shorter.contents == parts.contents
        assert shorter.fixed[-1] == "\n\n### Response:\n"
        assert len("".join(shorter.fixed)) < len("".join(parts.fixed))


def test_a_text_of_another_template_has_no_parts() -> None:
    with pytest.raises(ValueError, match="is not one of the template alpaca"):
        split_prompt("Name a bird.", "alpaca")
