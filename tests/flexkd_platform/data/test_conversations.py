"""Conversations of data sets in all their formats, and those that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import Conversations, check_data, load_evaluation, load_splits
from flexkd_platform.data.conversations import conversation_of
from flexkd_platform.spec import JobSpec, load_spec

Q, A = {"role": "user", "content": "Hi {n}?"}, {"role": "assistant", "content": "Ho {n}."}
SYSTEM = {"role": "system", "content": "Be brief."}
NORMAL = [SYSTEM, Q, A]


def numbered(value: Any, n: int) -> Any:
    return json.loads(json.dumps(value).replace("{n}", str(n)))


SHAREGPT = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "Hi {n}?"},
    {"from": "gpt", "value": "Ho {n}."},
]
PARTS = [SYSTEM, {"role": "user", "content": [{"type": "text", "text": "Hi {n}?"}]}, A]
FORMATS = {
    "messages": {"messages": NORMAL},
    "extra keys": {"messages": [{**m, "name": None, "weight": 1} for m in NORMAL], "id": 3},
    "parts": {"messages": PARTS},
    "sharegpt": {"conversations": SHAREGPT},
    "developer": {"messages": [{**SYSTEM, "role": "developer"}, Q, A]},
    "prompt and completion": {"prompt": [SYSTEM, Q], "completion": [A]},
}


@pytest.fixture
def task_of(tmp_path: Path) -> Callable[..., Any]:
    """`task_of(rows, data={...}, task={...})`: an instruction task on a file of these rows."""

    def make(rows: list[Any], *, name: str = "rows.jsonl", **sections: dict[str, Any]) -> Any:
        file = tmp_path / name
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), file)
        else:
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        data = {"source": "files", "path": str(file), **sections.get("data", {})}
        task = {"kind": "instruction", "data": data, **sections.get("task", {})}
        spec = tmp_path / "job.yaml"
        job = {"name": "talk", "task": task, "sweep": {"methods": [{"kind": "ft"}]}}
        spec.write_text(json.dumps(job), encoding="utf-8")
        loaded: JobSpec = load_spec(spec)
        return loaded.task

    return make


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("file", ["rows.jsonl", "rows.parquet"])
def test_every_format_is_the_same_conversation(
    task_of: Callable[..., Any], name: str, file: str
) -> None:
    if name == "parts":
        file = "rows.jsonl"  # Parquet cannot mix texts and lists
    task = task_of([numbered(FORMATS[name], n) for n in range(40)], name=file)
    facts, problems = check_data(task)
    assert problems == []
    assert facts is not None
    assert facts.conversations == Conversations(system=True, turns=False)
    splits = load_splits(task)
    rows = [
        row for split in (splits.train, splits.validation, splits.test) for row in split.to_pylist()
    ]
    prompts = {row["prompt"]: row for row in rows}
    assert len(prompts) == 40
    for n in range(40):
        row = prompts[json.dumps(numbered([SYSTEM, Q], n), separators=(",", ":"))]
        assert row["response"] == f"Ho {n}."
        assert row["references"] == [f"Ho {n}."]


def test_a_column_of_another_name(task_of: Callable[..., Any]) -> None:
    rows = [{"talk": numbered([Q, A, Q, A], n)} for n in range(40)]
    facts, problems = check_data(task_of(rows, data={"messages": "talk"}))
    assert problems == []
    assert facts is not None
    assert facts.conversations == Conversations(system=False, turns=True)
    facts, problems = check_data(task_of(rows))
    assert "has no column 'instruction'" in problems[0].message


def test_instructions_beside_messages_stay_instructions(task_of: Callable[..., Any]) -> None:
    """A source with all of the usual columns is read as before, whatever else it holds."""
    rows = [{"instruction": f"Do {n}", "output": "x", "messages": "?"} for n in range(40)]
    facts, problems = check_data(task_of(rows))
    assert problems == []
    assert facts is not None
    assert facts.conversations is None


def test_prompts_and_completions_that_are_texts(task_of: Callable[..., Any]) -> None:
    rows = [{"prompt": f"Do {n}", "completion": f"Done {n}"} for n in range(40)]
    task = task_of(rows, task={"template": "none"})
    facts, problems = check_data(task)
    assert problems == []
    assert facts is not None
    assert facts.conversations is None
    first = load_splits(task).train.to_pylist()[0]
    number = first["prompt"].removeprefix("Do ")
    assert first["response"] == f"Done {number}"


def test_instructions_with_a_chat_template(task_of: Callable[..., Any]) -> None:
    rows = [{"instruction": f"Do {n}", "input": "it", "output": "x"} for n in range(40)]
    plain, talk = task_of(rows), task_of(rows, task={"template": "chat"})
    facts, _ = check_data(talk)
    assert facts is not None
    assert facts.conversations == Conversations(given=False)
    found = [load_splits(one).train["prompt"].to_pylist() for one in (plain, talk)]
    # The template moves no example to another split.
    assert [json.loads(prompt)[0]["content"].split("\n")[0] for prompt in found[1]] == [
        prompt.split("### Instruction:\n")[1].split("\n")[0] for prompt in found[0]
    ]


BAD = [
    ([Q, Q, A], "message 2 is of user, not of assistant"),
    ([A, Q, A], "message 1 is of assistant, not of user"),
    ([SYSTEM, A], "message 2 is of assistant, not of user"),
    ([Q, A, SYSTEM], "message 3 is of system, not of user"),
    ([Q, A, Q], "message 3, the last one, is of user and has no answer"),
    ([Q, {"role": "assistant", "content": " \n"}], "message 2 is empty"),
    ([Q, {"role": "assistant", "content": None}], "message 2 is empty"),
    ([Q, {"role": "tool", "content": "x"}], 'message 2 is of the unknown role "tool"'),
    ([Q, {"content": "x"}], "has no role"),
    ([Q, "x"], 'message 2 is "x", not an object with role and content'),
    ([Q, {**A, "tool_calls": [{"name": "f"}]}], "message 2 calls a tool"),
    ([Q, {**A, "weight": 0}], "message 2 has the weight 0"),
    ([Q, {"role": "assistant", "content": [{"type": "image"}]}], "is not text"),
    ("Hi", '"Hi" is not a list of messages'),
    ([Q, {"role": "assistant", "content": "\ud800"}], "surrogate"),
]


@pytest.mark.parametrize(("talk", "message"), BAD)
def test_what_is_no_conversation(talk: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conversation_of(talk)


def test_rows_that_are_refused_are_named_at_once(task_of: Callable[..., Any]) -> None:
    rows = [{"messages": numbered(NORMAL, n)} for n in range(40)]
    rows[2] = {"messages": [Q, Q, A]}
    rows[5] = {"messages": [Q, {"role": "robot", "content": "x"}]}
    _, (problem,) = check_data(task_of(rows))
    assert problem.path == "task.data.messages"
    assert "row 3 of " in problem.message
    assert "message 2 is of user, not of assistant (and 1 more row)" in problem.message
    assert "user and assistant in turn" in problem.remedy


def test_rows_without_messages_are_skipped_and_counted(task_of: Callable[..., Any]) -> None:
    rows: list[Any] = [{"messages": numbered(NORMAL, n)} for n in range(40)]
    rows += [{"messages": []}, {"messages": None}, {"messages": [SYSTEM]}]
    facts, problems = check_data(task_of(rows))
    assert problems == []
    assert facts is not None
    assert facts.skipped["train"] == 3


def test_a_template_that_conversations_cannot_have(task_of: Callable[..., Any]) -> None:
    rows = [{"messages": numbered(NORMAL, n)} for n in range(40)]
    _, (problem,) = check_data(task_of(rows, task={"template": "none"}))
    assert problem.path == "task.template"
    assert "conversations" in problem.message


def test_an_evaluation_set_is_read_with_the_template_of_the_data(
    task_of: Callable[..., Any], tmp_path: Path
) -> None:
    talks = [{"messages": numbered(NORMAL, n)} for n in range(40)]
    plain = [{"instruction": f"Do {n}", "output": "x"} for n in range(40)]
    for name, rows in (("talks", talks), ("plain", plain)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")

    def sets(name: str) -> dict[str, Any]:
        path = str(tmp_path / f"{name}.jsonl")
        return {"evaluation": {"more": {"source": "files", "path": path}}}

    facts, problems = check_data(task_of(talks, task=sets("plain")))
    assert problems == []
    assert facts is not None
    _, (problem,) = check_data(task_of(plain, task=sets("talks")))
    assert problem.path == "task.evaluation.more"
    assert problem.remedy.startswith("set task.template: chat")
    task = task_of(plain, task={**sets("talks"), "template": "chat"})
    assert check_data(task)[1] == []
    table, _ = load_evaluation(task, "more")
    assert json.loads(table["prompt"][0].as_py())[0]["role"] == "system"
