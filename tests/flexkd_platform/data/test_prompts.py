"""Instructions and documents: every form they come in, and rows that teach nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.spec import (
    BuiltinDocstrings,
    DocumentFiles,
    InstructionFiles,
    InstructionTask,
    SummarizationTask,
    Task,
)

Row = dict[str, Any]
FORMATS = [".parquet", ".jsonl", ".json", ".csv", ".tsv"]

INSTRUCTIONS: list[Row] = [
    {"instruction": f"Say “{n}”.", "input": "twice" if n % 3 else "", "output": f"{n}, {n}"}
    for n in range(60)
]
DOCUMENTS: list[Row] = [{"document": f"Much about {n}.", "summary": f"{n}."} for n in range(60)]


def write(file: Path, rows: list[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows, indent=2))
    else:
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(
                stream, list(rows[0]), delimiter="," if file.suffix == ".csv" else "\t"
            )
            writer.writeheader()
            writer.writerows(rows)
    return file


def instructions(path: Path, template: str = "none", **settings: Any) -> InstructionTask:
    data = InstructionFiles(source="files", path=str(path), **settings)
    return InstructionTask.model_validate(
        {"kind": "instruction", "data": data, "template": template}
    )


def summaries(path: Path, prefix: str = "", **settings: Any) -> SummarizationTask:
    data = DocumentFiles(source="files", path=str(path), **settings)
    return SummarizationTask(kind="summarization", data=data, prefix=prefix)


def rows_of(task: Task) -> list[Row]:
    splits = load_splits(task)
    return [row for split in SPLITS for row in getattr(splits, split).to_pylist()]


def by_prompt(task: Task) -> dict[str, Row]:
    return {row["prompt"]: row for row in rows_of(task)}


def fingerprint(task: Task) -> str:
    facts, problems = check_data(task)
    assert problems == []
    assert facts is not None
    return facts.fingerprint


def only(task: Task) -> tuple[str, str, str]:
    facts, problems = check_data(task)
    assert facts is None
    (problem,) = problems
    return problem.path, problem.message, problem.remedy


@pytest.mark.parametrize("suffix", FORMATS)
def test_instructions_of_all_formats_agree(tmp_path: Path, suffix: str) -> None:
    splits = load_splits(instructions(write(tmp_path / f"d{suffix}", INSTRUCTIONS)))
    assert splits.train.schema.names == ["prompt", "response", "references"]
    assert splits.train.schema.field("references").type == pa.list_(pa.string())
    assert [len(getattr(splits, split)) for split in SPLITS] == [46, 8, 6]
    assert splits.train.slice(0, 2).to_pylist() == [
        {"prompt": "Say “0”.", "response": "0, 0", "references": ["0, 0"]},
        {"prompt": "Say “1”.\n\ntwice", "response": "1, 1", "references": ["1, 1"]},
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_summaries_of_all_formats_agree(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"d{suffix}", DOCUMENTS)
    found = by_prompt(summaries(file, prefix="summarize: "))
    assert len(found) == 60
    row = found["summarize: Much about 7."]
    assert (row["response"], row["references"]) == ("7.", ["7."])


def test_the_template_is_applied(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", [{**row, "prompt": "ignored"} for row in INSTRUCTIONS])
    prompts = list(by_prompt(instructions(file, "alpaca")))
    assert len(prompts) == 60
    assert all(prompt.endswith("\n\n### Response:\n") for prompt in prompts)
    assert sum("\n\n### Input:\ntwice\n\n" in prompt for prompt in prompts) == 40
    assert not any("ignored" in prompt for prompt in prompts)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_several_right_responses(tmp_path: Path, suffix: str) -> None:
    rows = [{**row, "output": [" ", row["output"], "another"]} for row in INSTRUCTIONS]
    row = by_prompt(instructions(write(tmp_path / f"d{suffix}", rows)))["Say “3”."]
    assert (row["response"], row["references"]) == ("3, 3", ["3, 3", "another"])


def test_strings_and_lists_in_one_file(tmp_path: Path) -> None:
    rows = [{**row, "output": ["a", "b"] if n % 2 else "a"} for n, row in enumerate(INSTRUCTIONS)]
    found = rows_of(instructions(write(tmp_path / "d.jsonl", rows)))
    assert {tuple(row["references"]) for row in found} == {("a",), ("a", "b")}
    documents = [{**row, "summary": ["x", "y"]} for row in DOCUMENTS]
    found = rows_of(summaries(write(tmp_path / "s.jsonl", documents)))
    assert {tuple(row["references"]) for row in found} == {("x", "y")}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_instances_are_examples(tmp_path: Path, suffix: str) -> None:
    instances = [{"input": "one", "output": "1"}, {"input": "", "output": "0"}]
    rows = [{"instruction": f"Count {n}.", "instances": instances} for n in range(40)]
    found = by_prompt(instructions(write(tmp_path / f"d{suffix}", rows), output="instances"))
    assert len(found) == 80
    assert found["Count 3.\n\none"]["response"] == "1"
    assert found["Count 3."]["references"] == ["0"]


def test_an_instance_without_input_has_the_row_s(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Do {n}.", "input": "this", "output": [{"output": ["a", "b"]}]}
        for n in range(40)
    ]
    found = by_prompt(instructions(write(tmp_path / "d.jsonl", rows)))
    assert found["Do 7.\n\nthis"]["references"] == ["a", "b"]


def test_the_input_column(tmp_path: Path) -> None:
    bare = [{key: row[key] for key in ("instruction", "output")} for row in INSTRUCTIONS]
    for suffix in FORMATS:
        assert "Say “4”." in by_prompt(instructions(write(tmp_path / f"d{suffix}", bare)))
    assert "Say “4”." in by_prompt(
        instructions(write(tmp_path / "e.jsonl", INSTRUCTIONS), input=None)
    )
    # A name that the spec chose was meant to be there.
    path, message, _ = only(instructions(tmp_path / "d.jsonl", input="context"))
    assert path == "task.data.input"
    assert message.endswith("has no column 'context'")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_rows_that_teach_nothing_are_skipped_and_counted(tmp_path: Path, suffix: str) -> None:
    useless: list[Row] = [
        {"instruction": " ", "input": "", "output": ["a"]},
        {"instruction": None, "input": "", "output": ["a"]},
        {"instruction": "Say it.", "input": "", "output": []},
        {"instruction": "Say it.", "input": "", "output": ["", "\n"]},
        {"instruction": "Say it.", "input": "", "output": None},
    ]
    rows = [{**row, "output": [row["output"]]} for row in INSTRUCTIONS] + useless
    task = instructions(write(tmp_path / f"d/train{suffix}", rows).parent)
    write(tmp_path / f"d/test{suffix}", rows[-8:])
    facts, _ = check_data(task)
    assert facts is not None
    assert facts.skipped == {"train": 5, "validation": 0, "test": 5}
    assert load_splits(task).skipped == facts.skipped
    assert facts.sizes["test"] == 3
    assert facts.sizes["train"] + facts.sizes["validation"] == 60
    assert facts.classes is None


def test_documents_that_teach_nothing_are_skipped(tmp_path: Path) -> None:
    useless = [{"document": "", "summary": "a"}, {"document": "a", "summary": " "}]
    facts, _ = check_data(summaries(write(tmp_path / "d.csv", DOCUMENTS + useless)))
    assert facts is not None
    assert (facts.skipped["train"], sum(facts.sizes.values())) == (2, 60)


def test_nothing_left_is_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", [{"instruction": "", "output": "a"}] * 9)
    path, message, _ = only(instructions(file))
    assert path == "task.data.output"
    assert message == f"no row of {file} has both an input and a response"
    file = write(tmp_path / "s.csv", [{"document": "a", "summary": ""}] * 9)
    assert only(summaries(file))[0] == "task.data.summary"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (5, "5 is neither text nor a list of texts"),
        (["a", 5], "5 is not text"),
        ({"output": "a"}, '{"output": "a"} is neither text nor a list of texts'),
        ([{"response": "a"}], '{"response": "a"} is not an instance with an output'),
        ([{"input": 5, "output": "a"}], "5 is not text"),
        (["a", "\ud83d"], "'\\ud83d' is an unpaired surrogate"),
    ],
)
def test_wrong_responses_are_named_with_their_line(
    tmp_path: Path, output: object, said: str
) -> None:
    rows = [*INSTRUCTIONS[:4], {**INSTRUCTIONS[4], "output": output}]
    path, message, remedy = only(instructions(write(tmp_path / "d.jsonl", rows)))
    assert path == "task.data.output"
    assert message == f"{tmp_path}/d.jsonl, line 5: {said}"
    assert '"output": "some text"' in remedy
    message = only(instructions(write(tmp_path / "d.json", rows)))[1]
    assert message == f"{tmp_path}/d.json, entry 5: {said}"


def test_instances_are_no_summaries(tmp_path: Path) -> None:
    rows = [{"document": "a", "summary": [{"output": "b"}]}]
    assert only(summaries(write(tmp_path / "d.jsonl", rows)))[0] == "task.data.summary"


def test_wrong_texts_are_named(tmp_path: Path) -> None:
    rows = [*INSTRUCTIONS[:4], {**INSTRUCTIONS[4], "instruction": 7}]
    path, message, _ = only(instructions(write(tmp_path / "d.jsonl", rows)))
    assert (path, message) == (
        "task.data.instruction",
        f"{tmp_path}/d.jsonl, line 5: 7 is not text",
    )
    numbers = [{**row, "instruction": n, "output": [n]} for n, row in enumerate(INSTRUCTIONS)]
    file = write(tmp_path / "d.parquet", numbers)
    path, message, _ = only(instructions(file))
    assert path == "task.data.output"
    assert message == f"the responses of {file} are of type list<element: int64>"
    numbers = [{**row, "output": "a"} for row in numbers]
    path, message, _ = only(instructions(write(file, numbers)))
    assert (path, message) == (
        "task.data.instruction",
        f"the instructions of {file} are of type int64",
    )


def test_missing_columns_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", INSTRUCTIONS)
    path, message, remedy = only(instructions(file, output="response"))
    assert (path, message) == ("task.data.output", f"{file} has no column 'response'")
    assert remedy == "name one of its columns: instruction, input, output"
    path, message, _ = only(summaries(write(tmp_path / "s.csv", DOCUMENTS), summary="document"))
    assert (path, message) == (
        "task.data.summary",
        "'document' is named as the document column too",
    )


def test_equal_prompts_share_a_split(tmp_path: Path) -> None:
    answers = [{**row, "output": "other"} for row in INSTRUCTIONS]
    splits = load_splits(instructions(write(tmp_path / "d.jsonl", INSTRUCTIONS + answers)))
    prompts = [set(getattr(splits, split)["prompt"].to_pylist()) for split in SPLITS]
    assert sum(len(getattr(splits, split)) for split in SPLITS) == 120
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 60


@pytest.mark.parametrize("size", [None, 20])
def test_another_template_moves_no_example(tmp_path: Path, size: int | None) -> None:
    file = write(tmp_path / "d.jsonl", INSTRUCTIONS)
    plain, alpaca = (
        load_splits(instructions(file, template, train=size)) for template in ("none", "alpaca")
    )
    for split in SPLITS:
        assert getattr(plain, split)["response"].equals(getattr(alpaca, split)["response"])
        assert not getattr(plain, split)["prompt"].equals(getattr(alpaca, split)["prompt"])


def test_the_fingerprint_is_of_all_that_decides_the_examples(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", [{**row, "more": "x"} for row in INSTRUCTIONS])
    base = fingerprint(instructions(file))
    assert (
        fingerprint(
            instructions(
                write(tmp_path / "moved.jsonl", [{**row, "more": "x"} for row in INSTRUCTIONS])
            )
        )
        == base
    )
    others = [
        fingerprint(instructions(file, "alpaca")),
        fingerprint(instructions(file, input=None)),
        fingerprint(instructions(file, output="more")),
        fingerprint(instructions(write(tmp_path / "e.jsonl", INSTRUCTIONS))),
        *(
            fingerprint(summaries(write(tmp_path / "s.jsonl", DOCUMENTS), prefix))
            for prefix in ("", "summarize: ")
        ),
    ]
    assert len({base, *others}) == 7


# --- the data set of the package ---------------------------------------------------------------

DOCSTRINGS = SummarizationTask(kind="summarization")


def test_docstrings_are_summarised_or_asked_for() -> None:
    assert DOCSTRINGS.data == BuiltinDocstrings()
    facts, _ = check_data(DOCSTRINGS)
    assert facts is not None
    assert facts.sizes == {"train": 4557, "validation": 685, "test": 758}
    assert set(facts.skipped.values()) == {0}
    summarised = load_splits(DOCSTRINGS)
    asked = load_splits(InstructionTask(kind="instruction", template="none"))
    for split in SPLITS:
        read, written = getattr(summarised, split), getattr(asked, split)
        assert read["response"].equals(written["response"])
    row, request = (table.slice(5, 1).to_pylist()[0] for table in (read, written))
    assert row["prompt"].startswith(("def ", "class "))
    assert request["prompt"].endswith("in one sentence.\n\n" + row["prompt"])


def test_subsets_of_docstrings() -> None:
    data = BuiltinDocstrings(train=50, test=7)
    splits = load_splits(SummarizationTask(kind="summarization", data=data))
    whole = load_splits(DOCSTRINGS)
    assert (len(splits.train), len(splits.test)) == (50, 7)
    assert set(splits.test["prompt"].to_pylist()) < set(whole.test["prompt"].to_pylist())
