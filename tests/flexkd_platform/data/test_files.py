"""Files: what is read from them, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.spec import Problem, SpecError, Task

FORMATS = [".parquet", ".jsonl", ".json", ".csv", ".tsv"]
ROWS = [(f"text {number} — “é”", number % 3) for number in range(60)]

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]


def content(task: Task) -> dict[str, list[dict[str, Any]]]:
    splits = load_splits(task)
    return {name: getattr(splits, name).to_pylist() for name in SPLITS}


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_all_formats_agree(write_rows: WriteRows, task_on: TaskOn, kind: str) -> None:
    contents = [
        content(task_on(write_rows(f"reviews{suffix}", ROWS), kind, train=20)) for suffix in FORMATS
    ]
    assert [len(rows) for rows in contents[0].values()] == [20, 4, 5]
    assert all(other == contents[0] for other in contents[1:])


@pytest.mark.parametrize("suffix", FORMATS)
def test_words_become_their_place_in_sorted_order(
    write_rows: WriteRows, task_on: TaskOn, suffix: str
) -> None:
    rows = [(text, ["pos", "neg"][label % 2]) for text, label in ROWS]
    task = task_on(write_rows(f"reviews{suffix}", rows))
    labels = {row["text"]: row["label"] for part in content(task).values() for row in part}
    assert labels == {text: int(word == "pos") for text, word in rows}
    facts, _ = check_data(task)
    assert facts is not None
    assert facts.classes == 2


@pytest.mark.parametrize("suffix", FORMATS)
def test_true_and_false_are_1_and_0(write_rows: WriteRows, task_on: TaskOn, suffix: str) -> None:
    rows = [(text, number % 2 == 0) for number, (text, _) in enumerate(ROWS)]
    splits = content(task_on(write_rows(f"reviews{suffix}", rows)))
    labels = {row["text"]: row["label"] for part in splits.values() for row in part}
    assert labels == {text: int(label) for text, label in rows}


def test_categories_of_parquet_are_words(tmp_path: Path, task_on: TaskOn) -> None:
    words = pa.array(["b", "a"] * 30).dictionary_encode()
    pa.parquet.write_table(
        pa.table({"text": [text for text, _ in ROWS], "label": words}), tmp_path / "d.parquet"
    )
    labels = load_splits(task_on(tmp_path / "d.parquet")).train["label"]
    assert set(labels.to_pylist()) == {0, 1}


def test_made_splits_share_no_text(write_rows: WriteRows, task_on: TaskOn) -> None:
    splits = content(task_on(write_rows("reviews.jsonl", [*ROWS, *ROWS])))
    texts = [{row["text"] for row in splits[name]} for name in SPLITS]
    assert sum(map(len, texts)) == 60
    assert sum(map(len, splits.values())) == 120


def test_splits_that_are_there_are_left_alone(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.jsonl", ROWS)
    write_rows("d/test.csv", ROWS[:6])
    folder = write_rows("d/validation.tsv", ROWS[6:12]).parent
    splits = content(task_on(folder))
    assert [(row["text"], row["label"]) for row in splits["train"]] == ROWS
    assert [(row["text"], row["label"]) for row in splits["test"]] == ROWS[:6]
    assert [(row["text"], row["label"]) for row in splits["validation"]] == ROWS[6:12]


def test_the_fingerprint_is_of_the_content_alone(write_rows: WriteRows, task_on: TaskOn) -> None:
    def fingerprint(path: Path) -> str:
        facts, problems = check_data(task_on(path))
        assert problems == []
        assert facts is not None
        return facts.fingerprint

    write_rows("a/train.csv", ROWS)
    first = write_rows("a/test.csv", ROWS[:9]).parent
    write_rows("b/train.csv", ROWS)
    second = write_rows("b/test.csv", ROWS[:9]).parent
    os.utime(second / "train.csv", (0, 0))
    assert fingerprint(first) == fingerprint(second) == FINGERPRINT
    write_rows("b/test.csv", ROWS[:10])
    assert fingerprint(first) != fingerprint(second)
    swapped = write_rows("b/validation.csv", ROWS[:9]).parent
    (swapped / "test.csv").unlink()
    assert fingerprint(first) != fingerprint(swapped)


# SHA-256 over the digests of the two CSV files of the test above, READING_VERSION 1.
FINGERPRINT = "6bedf0df0932512bce707a90efbaa653f27d3fec9414158aa2dc4f40c561b8c9"


def test_quotes(tmp_path: Path, task_on: TaskOn) -> None:
    quoted = 'text,label\n"one, ""two""\nlines",0\nplain,1\n'
    rows = "".join(f"more {number},{number % 2}\n" for number in range(40))
    (tmp_path / "d.csv").write_text(quoted + rows)
    literal = 'text\tlabel\n"half a quote\t0\na "whole" one\t1\n'
    (tmp_path / "d.tsv").write_text(literal + rows.replace(",", "\t"))
    for name, expected in {"d.csv": 'one, "two"\nlines', "d.tsv": '"half a quote'}.items():
        texts = [row["text"] for part in content(task_on(tmp_path / name)).values() for row in part]
        assert expected in texts


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path, task_on: TaskOn) -> None:
    lines = [f'{{"text": "t {number}", "label": {number % 2}}}' for number in range(40)]
    (tmp_path / "d.jsonl").write_text("\n\n".join(lines), encoding="utf-8-sig")
    csv = "text,label\n" + "".join(f"t {number},{number % 2}\n\n" for number in range(40))
    (tmp_path / "d.csv").write_text(csv, encoding="utf-8-sig")
    assert content(task_on(tmp_path / "d.jsonl")) == content(task_on(tmp_path / "d.csv"))


def test_json_is_an_array_or_lines(write_rows: WriteRows, tmp_path: Path, task_on: TaskOn) -> None:
    lines = write_rows("d.jsonl", ROWS)
    (tmp_path / "e.json").write_bytes(lines.read_bytes())
    assert content(task_on(tmp_path / "e.json")) == content(task_on(lines))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"text": "a", "label": 0},\n}]', ", line 2: no JSON: "),
        ('[{"text": "a", "label": 0}, 5]', ", entry 2: 5 is not a JSON object"),
        ("[]", " has no examples"),
    ],
)
def test_broken_json(tmp_path: Path, problems: Problems, text: str, said: str) -> None:
    (tmp_path / "d.json").write_text(text)
    assert only(problems(tmp_path / "d.json")).message.startswith(f"{tmp_path}/d.json{said}")


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def test_no_such_path(problems: Problems) -> None:
    problem = only(problems("nowhere/reviews.csv"))
    assert problem.path == "task.data.path"
    assert problem.message == "'nowhere/reviews.csv' does not exist"
    assert str(Path.cwd()) in problem.remedy


def test_unknown_format(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "reviews.txt").write_text("text")
    problem = only(problems(tmp_path / "reviews.txt"))
    assert "reviews.txt has an unknown format" in problem.message
    assert problem.remedy == "the name must end in .parquet, .jsonl, .json, .csv, .tsv, .arrow"


def test_folder_without_train(write_rows: WriteRows, problems: Problems) -> None:
    folder = write_rows("d/test.csv", ROWS).parent
    problem = only(problems(folder))
    assert problem.message == f"{folder} contains no train file (found: test.csv)"
    assert problem.remedy.startswith("it must hold train.parquet or train.jsonl")


def test_empty_folder(tmp_path: Path, problems: Problems) -> None:
    assert "contains no train file (the folder is empty)" in only(problems(tmp_path)).message


def test_two_files_for_one_split(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", ROWS)
    problem = only(problems(write_rows("d/train.tsv", ROWS).parent))
    assert "holds train.csv and train.tsv" in problem.message


def test_a_split_by_another_name(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", ROWS)
    problem = only(problems(write_rows("d/dev.csv", ROWS).parent))
    assert "holds dev.csv, which is not the name of a split" in problem.message
    assert problem.remedy == "name it validation.csv"


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_columns(write_rows: WriteRows, problems: Problems, suffix: str) -> None:
    file = write_rows(f"reviews{suffix}", ROWS)
    text, label = problems(file, text="sentence", label="stars")
    assert (text.path, label.path) == ("task.data.text", "task.data.label")
    assert text.message == f"{file} has no column 'sentence'"
    assert text.remedy.startswith("name one of its columns: ")
    assert {"text", "label"} <= set(text.remedy.partition(": ")[2].split(", "))


def test_one_column_for_both(write_rows: WriteRows, problems: Problems) -> None:
    problem = only(problems(write_rows("reviews.csv", ROWS), text="label"))
    assert problem.message == "'label' is named as the text column too"


def test_a_column_twice(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_text("text,label,label\na,0,1\n")
    assert "has 2 columns 'label'" in only(problems(tmp_path / "d.csv")).message


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_ragged_rows(tmp_path: Path, problems: Problems, suffix: str) -> None:
    rows = "text,label\na,0\nb\nc,1,2\n"
    file = tmp_path / f"d{suffix}"
    file.write_text(rows if suffix == ".csv" else rows.replace(",", "\t"))
    problem = only(problems(file))
    assert problem.path == "task.data.path"
    start = f"{file}, row 2 on line 3 (and 1 more): 1 field where the header has 2: b"
    assert problem.message == start


def test_an_open_quote(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_text('text,label\n"never closed,0\nb,1\n')
    problem = only(problems(tmp_path / "d.csv"))
    assert 'd.csv, lines 2 to 3: a quoted field is never closed: "never closed' in problem.message
    assert "quote" in problem.remedy


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_no_utf8(write_rows: WriteRows, problems: Problems, suffix: str) -> None:
    file = write_rows(f"d{suffix}", [("a", 0), ("caf#", 1)])
    file.write_bytes(file.read_bytes().replace(b"#", b"\xe9"))
    problem = only(problems(file))
    line = 2 if suffix == ".jsonl" else 3
    assert f"{file}, line {line}: byte 0xe9 at column " in problem.message
    assert problem.remedy == "save the file as UTF-8"


def test_no_utf8_in_the_header(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_bytes(b"text,label\xe9\na,0\n")
    assert "line 1: byte 0xe9 at column 11" in only(problems(tmp_path / "d.csv")).message


def test_no_parquet(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.parquet").write_text("text,label\n")
    problem = only(problems(tmp_path / "d.parquet"))
    assert "d.parquet is not a readable Parquet file: " in problem.message


def test_all_broken_lines_of_jsonl(tmp_path: Path, problems: Problems) -> None:
    lines = ['{"text": "a", "label": 0}', "{text}", "[1]", '{"text": 5, "label": 1}']
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join([*lines, '{"text": "b", "label": [1]}']))
    json, text, label = problems(file)
    assert json.path == "task.data.path"
    assert json.message.startswith(f"{file}, line 2: no JSON: ")
    assert json.message.endswith("(and 1 more)")
    assert json.remedy == 'each line must be as {"text": "some text", "label": 0}'
    assert (text.path, text.message) == ("task.data.text", f"{file}, line 4: 5 is not text")
    assert (label.path, label.message) == (
        "task.data.label",
        f"{file}, line 5: [1] is neither number nor word",
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_file_of_no_bytes(tmp_path: Path, problems: Problems, suffix: str) -> None:
    file = tmp_path / f"d{suffix}"
    file.write_bytes(b"")
    wanted = "has no examples" if suffix == ".jsonl" else "is empty"
    assert only(problems(file)).message == f"{file} {wanted}"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_file_without_rows(write_rows: WriteRows, problems: Problems, suffix: str) -> None:
    file = write_rows(f"d{suffix}", [])
    messages = [problem.message for problem in problems(file)]
    assert f"{file} has no examples" in messages


def test_an_empty_split(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", ROWS)
    file = write_rows("d/test.csv", [])
    problem = only(problems(file.parent))
    assert problem.message == f"{file} has no examples"
    assert "not there at all is drawn from train" in problem.remedy


def test_a_file_that_may_not_be_read(
    write_rows: WriteRows, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_rows("d.jsonl", ROWS)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # root, as in a container, may read everything
    problem = only(problems(file))
    assert problem.message == f"cannot read {file}: Permission denied"


def test_too_few_rows_to_draw_from(write_rows: WriteRows, problems: Problems) -> None:
    found = problems(write_rows("d.csv", ROWS[:3]))
    assert {problem.path for problem in found} == {"task.data.path"}
    assert found[0].message.startswith("no example is left for the ")


def test_shares_that_leave_nothing(write_rows: WriteRows, problems: Problems) -> None:
    problem = only(problems(write_rows("d.csv", ROWS), validation_share=0.5, test_share=0.5))
    assert problem.path == "task.data.test_share"
    assert problem.message == "validation and test take 1 of the train split"


def test_load_splits_refuses_what_check_data_finds(write_rows: WriteRows, task_on: TaskOn) -> None:
    task = task_on(write_rows("d.csv", ROWS), text="sentence")
    with pytest.raises(SpecError, match="has no column 'sentence'"):
        load_splits(task)


def test_problems_of_all_files_show_at_once(
    write_rows: WriteRows, tmp_path: Path, problems: Problems
) -> None:
    write_rows("d/train.csv", [*ROWS, ("", 1), ("more", -2)])
    write_rows("d/test.jsonl", [("a", 0.5), (None, 1), ("c", "x")])
    (tmp_path / "d/validation.parquet").write_text("no")
    found = problems(tmp_path / "d", classes=2)
    paths = [problem.path.removeprefix("task.data.") for problem in found]
    assert sorted(paths) == ["label"] * 4 + ["path"] + ["text"] * 2
    said = "\n".join(problem.message for problem in found)
    for words in [
        f"row 61 of {tmp_path}/d/train.csv has no text",
        f"row 62 of {tmp_path}/d/train.csv: label '-2' is negative",
        f"row 3 of {tmp_path}/d/train.csv (and 19 more): label '2' is outside the head of 2",
        f"{tmp_path}/d/validation.parquet is not a readable Parquet file",
        f"row 1 of {tmp_path}/d/test.jsonl: label '0.5' is not a whole number",
        f"row 3 of {tmp_path}/d/test.jsonl: label 'x' is not a number",
        f"row 2 of {tmp_path}/d/test.jsonl has no text",
    ]:
        assert words in said


def test_sizes_and_labels_are_checked_together(write_rows: WriteRows, problems: Problems) -> None:
    found = problems(write_rows("d.csv", [*ROWS, ("bad", -1)]), train=1000, test=1)
    assert [problem.path for problem in found] == ["task.data.label", "task.data.train"]
    assert "1,000 examples requested, but train has " in found[1].message
    assert "once the missing splits are drawn from it" in found[1].message


def test_memory_holds_the_two_columns_only(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d.parquet", [(f"{n} " + "x" * 200, n % 2) for n in range(5000)])
    before = pa.total_allocated_bytes()
    splits = load_splits(task_on(file))
    held = pa.total_allocated_bytes() - before
    # Text and label are about 1.1 MB; the third column would add as much again.
    assert held < 1.6e6
    assert pc.sum(splits.train["label"]).as_py() > 0
