"""Conversations in CSV, in shards and in mixtures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.spec import InstructionTask, Problem


def talk(n: int) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": f'Say "hi, {n}"?'},
        {"role": "assistant", "content": f"Ho {n}.\nHo."},
    ]


def jsonl(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def talks(file: Path, start: int, stop: int) -> Path:
    return jsonl(file, [{"messages": talk(n)} for n in range(start, stop)])


def plain(file: Path, count: int) -> Path:
    return jsonl(file, [{"instruction": f"Do {n}", "output": f"Done {n}"} for n in range(count)])


def table(file: Path, header: list[str], rows: list[list[str]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def source(path: Path) -> dict[str, Any]:
    return {"source": "files", "path": str(path)}


def task_of(data: dict[str, Any], **settings: Any) -> InstructionTask:
    return InstructionTask.model_validate({"kind": "instruction", "data": data, **settings})


def mixture(**parts: Path) -> dict[str, Any]:
    return {"source": "mixture", "parts": {name: source(path) for name, path in parts.items()}}


def only(task: InstructionTask) -> Problem:
    found, problems = check_data(task)
    assert found is None
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def examples(task: InstructionTask) -> dict[str, str]:
    """The response of each prompt, in all splits."""
    found, problems = check_data(task)
    assert problems == [], [str(problem) for problem in problems]
    assert found is not None
    splits = load_splits(task)
    rows = [row for split in SPLITS for row in getattr(splits, split).to_pylist()]
    return {row["prompt"]: row["response"] for row in rows}


def wanted(count: int) -> dict[str, str]:
    found = {}
    for n in range(count):
        prompt = json.dumps(talk(n)[:1], separators=(",", ":"), ensure_ascii=False)
        found[prompt] = talk(n)[1]["content"]
    return found


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_csv_holds_conversations_as_json(tmp_path: Path, column: str) -> None:
    rows = [[str(n), json.dumps(talk(n))] for n in range(40)]
    task = task_of(source(table(tmp_path / "d.csv", ["id", column], [*rows, ["40", ""]])))
    assert examples(task) == wanted(40)
    found, _ = check_data(task)
    assert found is not None
    assert found.conversations is not None
    assert sum(found.skipped.values()) == 1


def test_csv_that_holds_no_json(tmp_path: Path) -> None:
    rows = [[json.dumps(talk(n))] for n in range(40)]
    file = table(tmp_path / "d.csv", ["messages"], [*rows, ["hello"]])
    problem = only(task_of(source(file)))
    assert problem.path == "task.data.messages"
    assert problem.message.startswith(f"row 41 of {file}: ")
    assert problem.message.endswith("is not a list of messages")


def test_csv_of_prompts_and_completions(tmp_path: Path) -> None:
    rows = [[f"Do {n}", f"Done {n}"] for n in range(40)]
    file = table(tmp_path / "d.csv", ["prompt", "completion"], rows)
    found = examples(task_of(source(file), template="none"))
    assert found == {f"Do {n}": f"Done {n}" for n in range(40)}


def test_shards_of_conversations(tmp_path: Path) -> None:
    talks(tmp_path / "d/train-00000-of-00002.jsonl", 0, 30)
    talks(tmp_path / "d/train-00001-of-00002.jsonl", 30, 60)
    assert examples(task_of(source(tmp_path / "d"))) == wanted(60)


def test_a_broken_conversation_is_named_with_its_shard(tmp_path: Path) -> None:
    talks(tmp_path / "d/train-00000-of-00002.jsonl", 0, 30)
    broken = [{"messages": talk(30)}, {"messages": talk(31)[:1]}]
    second = jsonl(tmp_path / "d/train-00001-of-00002.jsonl", broken)
    assert only(task_of(source(tmp_path / "d"))).message.startswith(f"row 2 of {second}: ")


def test_shards_of_two_forms_are_refused(tmp_path: Path) -> None:
    one = talks(tmp_path / "d/train-00000-of-00002.jsonl", 0, 30)
    two = plain(tmp_path / "d/train-00001-of-00002.jsonl", 30)
    problem = only(task_of(source(tmp_path / "d")))
    assert problem.message == f"{one} has messages, {two} has instruction and output"


def test_a_shard_without_lines(tmp_path: Path) -> None:
    talks(tmp_path / "d/train-00000-of-00002.jsonl", 0, 40)
    jsonl(tmp_path / "d/train-00001-of-00002.jsonl", [])
    assert examples(task_of(source(tmp_path / "d"))) == wanted(40)


def test_splits_of_two_forms_are_refused(tmp_path: Path) -> None:
    train, test = talks(tmp_path / "d/train.jsonl", 0, 40), plain(tmp_path / "d/test.jsonl", 40)
    problem = only(task_of(source(tmp_path / "d")))
    assert problem.message == f"{train} holds conversations, {test} does not"


def test_instructions_beside_conversations(tmp_path: Path) -> None:
    parts = {"a": plain(tmp_path / "a.jsonl", 40), "b": talks(tmp_path / "b.jsonl", 0, 40)}
    task = task_of(mixture(**parts))
    found, _ = check_data(task)
    assert found is not None
    assert found.conversations is not None
    assert found.conversations.given
    question = '[{"role":"user","content":"Do 7"}]'
    assert examples(task) == wanted(40) | {
        question.replace("7", str(n)): f"Done {n}" for n in range(40)
    }
    problem = only(task_of(mixture(**parts), template="none"))
    assert problem.path == "task.template"


def test_instructions_alone_keep_their_template(tmp_path: Path) -> None:
    parts = {name: plain(tmp_path / f"{name}.jsonl", 40) for name in "ab"}
    found, problems = check_data(task_of(mixture(**parts)))
    assert problems == []
    assert found is not None
    assert found.conversations is None
