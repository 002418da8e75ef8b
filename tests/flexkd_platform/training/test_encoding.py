"""Tables of a split as examples: what a response that did not end teaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flexkd_platform.artifacts import read_rows
from flexkd_platform.models import load_tokenizer
from flexkd_platform.training.encoding import encode


@pytest.mark.parametrize(
    ("architecture", "task"), [("gpt2", "instruction"), ("t5", "summarization")]
)
def test_a_response_that_did_not_end_teaches_no_end(
    world: Callable[..., Any], architecture: str, task: str
) -> None:
    lab = world(architecture, task)
    plan = lab.plan()
    lab.alone(plan, "dataset")
    lab.alone(plan, "base")
    teacher = lab.step(plan, "teacher")
    tokenizer = load_tokenizer(lab.store.folder(lab.step(plan, "base")) / "model")
    table = read_rows(lab.store.folder(lab.step(plan, "dataset")), "train").slice(0, 2)
    written = [("o", True), ("o", False)]
    ended, cut = encode(
        table, tokenizer, teacher.config.reading, responses=written, decoder_start_id=0
    ).responses
    assert ended == (*cut, tokenizer.eos_token_id)
    assert tokenizer.eos_token_id not in cut
