"""TSV and CSV as data sets have them: without a header, with a mark of byte order, with pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.spec import Problem, Task

TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]


def content(task: Task) -> dict[str, list[dict[str, Any]]]:
    splits = load_splits(task)
    return {name: getattr(splits, name).to_pylist() for name in SPLITS}


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


# The shape of the STS benchmark's files: no header, a quote that is none, more fields in some rows.
HEADLESS = "".join(
    f'captions\tMSRvid\t2012\t{n:04}\t{n / 10}\tA "man {n}\tA “boy {n}'
    + "\tfrom\tweb" * (n % 3 == 0)
    + "\n"
    for n in range(60)
)
NUMBERED = {"text": "6", "text_pair": "7", "label": "5"}


def test_columns_by_number_where_there_is_no_header(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.tsv").write_text(HEADLESS)
    rows = [
        row
        for part in content(task_on(tmp_path / "d.tsv", "regression", **NUMBERED)).values()
        for row in part
    ]
    assert len(rows) == 60
    assert {"text": 'A "man 13', "text_pair": "A “boy 13", "label": 1.3} in rows
    csv = "".join(f'"t, {n}",{n % 2}\n' for n in range(40))
    (tmp_path / "d.csv").write_text(csv)
    found = content(task_on(tmp_path / "d.csv", text="1", label="2"))
    assert {row["text"] for part in found.values() for row in part} == {
        f"t, {n}" for n in range(40)
    }


def test_numbers_that_a_header_has_are_its_names(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.csv").write_text("2,1\n" + "".join(f"{n % 2},t {n}\n" for n in range(40)))
    rows = content(task_on(tmp_path / "d.csv", text="1", label="2"))["train"]
    assert rows[0]["text"].startswith("t ")


def test_a_number_that_a_row_lacks(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.tsv").write_text(HEADLESS)
    wrong = {**NUMBERED, "text_pair": "8"}
    problem = only(problems(tmp_path / "d.tsv", "regression", **wrong))
    start = f"{tmp_path}/d.tsv, row 2 on line 2 (and 39 more): 7 fields, and column 8 is wanted"
    assert problem.message.startswith(start)
    assert "counted from 1" in problem.remedy


def test_tabs_in_a_csv_file(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "sts.csv").write_text(HEADLESS)
    problem = only(problems(tmp_path / "sts.csv", "regression", **NUMBERED))
    assert problem.message == f"{tmp_path}/sts.csv has tabs between its fields, not commas"
    assert problem.remedy == 'name it sts.tsv; or, if fields are quoted, set delimiter: "\\t"'


PAIRS = [(f"text {n} — “é”", f"other {n % 20}", n % 3) for n in range(60)]


def write_pairs(file: Path) -> Path:
    header = ["first", "second", "label"]
    lines = "".join("\t".join(map(str, row)) + "\n" for row in [header, *PAIRS])
    file.write_text(lines, encoding="utf-8-sig")  # as MRPC's
    return file


def test_pairs(tmp_path: Path, task_on: TaskOn) -> None:
    task = task_on(write_pairs(tmp_path / "d.tsv"), text="first", text_pair="second")
    splits = load_splits(task)
    assert splits.train.schema.names == ["text", "text_pair", "label"]
    rows = [row for part in content(task).values() for row in part]
    assert sorted((row["text"], row["text_pair"], row["label"]) for row in rows) == sorted(PAIRS)
    assert splits.skipped == dict.fromkeys(SPLITS, 0)


def test_equal_pairs_share_a_split(tmp_path: Path, task_on: TaskOn) -> None:
    lines = "".join(f"same\tother {n % 30}\t{n % 2}\n" for n in range(120))
    (tmp_path / "d.tsv").write_text("text\tb\tlabel\n" + lines)
    splits = content(task_on(tmp_path / "d.tsv", text_pair="b"))
    pairs = [{row["text_pair"] for row in rows} for rows in splits.values()]
    assert all(pairs)  # one text for all, and still there are three splits
    assert sum(map(len, pairs)) == 30


def test_a_pair_without_its_second_text(tmp_path: Path, problems: Problems) -> None:
    file = write_pairs(tmp_path / "d.tsv")
    file.write_text(file.read_text().replace("other 3\t", " \t"))
    problem = only(problems(file, text="first", text_pair="second"))
    assert problem.path == "task.data.text_pair"
    assert problem.message == f"row 4 of {file} (and 2 more) has no second text"


def test_columns_change_the_fingerprint(tmp_path: Path, task_on: TaskOn) -> None:
    file = write_pairs(tmp_path / "d.tsv")
    asked = [{"text": "first"}, {"text": "second"}, {"text": "first", "text_pair": "second"}]
    found = [
        check_data(task_on(file, **settings, validation_share=0.3, test_share=0.3))[0]
        for settings in asked
    ]
    assert None not in found
    assert len({facts.fingerprint for facts in found if facts is not None}) == 3
