"""Jobs on conversations, and with packed batches, from the data to the evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from flexkd_platform.artifacts import read_log, read_rows
from flexkd_platform.models import load_tokenizer
from flexkd_platform.spec import SpecError
from flexkd_platform.training.encoding import encode

from ..lab import Lab

# Short, since the model has few positions: messages, each with an end.
TEMPLATE = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"


@pytest.fixture
def talking(world: Callable[..., Lab]) -> Callable[..., Any]:
    """`talking(*overrides)`: a lab whose data are conversations, and the overrides of its jobs."""

    def make(*overrides: str) -> tuple[Lab, tuple[str, ...]]:
        lab = world("llama", "instruction")
        plan = lab.plan()
        lab.alone(plan, "dataset")
        lab.alone(plan, "base")
        folder = lab.folder / "chat"
        if not folder.exists():
            shutil.copytree(lab.store.folder(lab.step(plan, "base")) / "model", folder)
            (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
            _write_talks(lab)
        lengths = ("task.max_prompt=16", "task.max_response=6")
        chat = ("task.template=chat", f"teacher.model={folder}", *lengths)
        return lab, (*chat, *overrides)

    return make


def _write_talks(lab: Lab) -> None:
    (lab.folder / "talks").mkdir()
    for split, rows in {"train": 12, "validation": 4, "test": 4}.items():
        lines = []
        for place in range(rows):
            talk = [("user", f"tree {place}"), ("assistant", "red"), ("user", f"{split} stone")]
            talk = [*talk, ("assistant", "blue river")] if place % 2 else talk[:2]
            messages = [{"role": role, "content": content} for role, content in talk]
            lines.append(json.dumps({"messages": messages}) + "\n")
        (lab.folder / "talks" / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


METHODS = (
    "{kind: kd}",
    "{kind: flexkd}",
    "{kind: seqkd}",
    "{kind: minillm, on_policy: {max_new_tokens: 6}}",
)


@pytest.mark.parametrize("method", METHODS)
def test_a_job_on_conversations(talking: Callable[..., Any], method: str) -> None:
    lab, overrides = talking("evaluate.metrics=[rougeL, nll]")
    trial = lab.trial(method, *overrides, data="talks")
    lab.run(trial)
    metrics = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert set(metrics) == {"test/rougeL", "test/nll"}
    student = load_tokenizer(lab.store.folder(trial.distill) / "model")
    assert student.chat_template == TEMPLATE


def test_every_answer_of_a_conversation_is_a_target(talking: Callable[..., Any]) -> None:
    lab, overrides = talking()
    plan = lab.plan("sweep.methods=[{kind: ft}]", *overrides, data="talks")
    lab.alone(plan, "dataset")
    teacher = lab.step(plan, "teacher")
    tokenizer = load_tokenizer(lab.folder / "chat")
    table = read_rows(lab.store.folder(lab.step(plan, "dataset")), "train")
    data = encode(table, tokenizer, teacher.config.reading)
    batch = data.batch([0, 1])
    text = tokenizer.decode(batch.labels_N)
    assert text.replace(" ", "") == "red</s>red</s>blueriver</s>"
    # Responses of the teacher replace the last answer, and are the only targets.
    written = encode(table, tokenizer, teacher.config.reading, responses=[("old", True)] * 12)
    assert tokenizer.decode(written.batch([1]).labels_N).replace(" ", "") == "old</s>"


def test_another_template_is_another_teacher(talking: Callable[..., Any]) -> None:
    """The template is a file that no fingerprint of a model covers."""
    lab, overrides = talking()
    before = lab.step(lab.plan(*overrides, data="talks"), "teacher").hash
    file = lab.folder / "chat" / "chat_template.jinja"
    file.write_text("{{ bos_token }}" + TEMPLATE, encoding="utf-8")
    lab.preflight._seen.clear()
    assert lab.step(lab.plan(*overrides, data="talks"), "teacher").hash != before
    file.unlink()
    lab.preflight._seen.clear()
    with pytest.raises(SpecError) as caught:
        lab.plan(*overrides, data="talks")
    file.write_text(TEMPLATE, encoding="utf-8")
    lab.preflight._seen.clear()
    (problem,) = caught.value.problems
    assert problem.path == "teacher.model"
    assert "no chat template" in problem.message


@pytest.mark.parametrize("method", ["{kind: kd}", "{kind: flexkd, pairing: matched}"])
def test_packing_changes_no_loss(world: Callable[..., Lab], method: str) -> None:
    lab = world("gpt2", "instruction")
    # Without the teacher's dropout, which draws by the shape of a batch.
    calm = [f"teacher.model.config.{part}_pdrop=0" for part in ("resid", "embd", "attn")]
    logs = []
    for packing in ("false", "true"):
        trial = lab.trial(method, f"task.packing={packing}", *calm)
        lab.run(trial)
        logs.append([entry.values["train/loss"] for entry in read_log(trial.distill, lab.store)])
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


def test_packing_is_refused_where_examples_would_mix(world: Callable[..., Lab]) -> None:
    with pytest.raises(SpecError) as caught:
        world("opt", "instruction").plan("task.packing=true")
    (problem,) = caught.value.problems
    assert problem.path == "task.packing"
    assert "opt, the architecture of teacher.model" in problem.message
