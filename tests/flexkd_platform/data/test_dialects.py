"""CSV as programs write it: other delimiters, escapes, line breaks, broken quotes."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.data.dialect import Dialect
from flexkd_platform.spec import Problem, Task

TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]

LINES = "".join(f"plain text {number},{number % 2}\n" for number in range(40))
"""Rows of text and label, without a header."""


def read(task: Task) -> dict[str, int]:
    """Label by text, in all splits."""
    splits = load_splits(task)
    rows = [row for name in SPLITS for row in getattr(splits, name).to_pylist()]
    found = {row["text"]: row["label"] for row in rows}
    assert len(found) == len(rows)
    return found


def facts(task: Task) -> Any:
    found, problems = check_data(task)
    assert problems == []
    assert found is not None
    return found


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


@pytest.mark.parametrize("delimiter", [";", "|"])
def test_a_delimiter_that_fits_is_used_and_named(
    tmp_path: Path, task_on: TaskOn, delimiter: str
) -> None:
    file = tmp_path / "d.csv"
    file.write_text(f"text{delimiter}label\n" + LINES.replace(",", delimiter) + f"a, b{delimiter}1")
    found = read(task_on(file))
    assert len(found) == 41
    assert found["a, b"] == 1
    note = only(list(facts(task_on(file)).notes))
    assert note.path == "task.data.delimiter"
    assert note.message == f"{file} has '{delimiter}' between its fields"
    assert note.remedy == f'state it, as delimiter: "{delimiter}"'
    stated = task_on(file, delimiter=delimiter)
    assert read(stated) == found
    assert facts(stated).notes == ()
    assert facts(stated).fingerprint == facts(task_on(file)).fingerprint


def test_a_comma_is_preferred_where_both_fit(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.csv").write_text("text,label\n" + LINES + "a; b,1\n")
    assert read(task_on(tmp_path / "d.csv"))["a; b"] == 1


def test_numbered_columns_with_another_delimiter(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.csv").write_text(LINES.replace(",", ";"))
    assert len(read(task_on(tmp_path / "d.csv", text="1", label="2"))) == 40


def test_quoted_tabs(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.csv").write_text("text\tlabel\n" + LINES.replace(",", "\t") + '"a\tb"\t1\n')
    assert read(task_on(tmp_path / "d.csv", delimiter="\t"))["a\tb"] == 1


def test_columns_of_another_delimiter_are_listed(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_text("sentence;label\n" + LINES.replace(",", ";"))
    problem = only(problems(tmp_path / "d.csv"))
    assert problem.path == "task.data.text"
    assert problem.remedy == "name one of its columns: sentence, label"


@pytest.mark.parametrize(
    ("header", "remedy"),
    [
        ("text, label", "its column ' label' differs in blanks: rename it, or set label: ' label'"),
        ("text,Label", "its column 'Label' differs in case: rename it, or set label: 'Label'"),
        ("text, y", "name one of its columns: text, ' y'"),
    ],
)
def test_names_that_nearly_fit(
    tmp_path: Path, problems: Problems, header: str, remedy: str
) -> None:
    (tmp_path / "d.csv").write_text(f"{header}\n" + LINES)
    problem = only(problems(tmp_path / "d.csv"))
    assert (problem.path, problem.remedy) == ("task.data.label", remedy)


def test_excels_first_line(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_text("sep=;\ntext;label\n" + LINES.replace(",", ";"))
    assert only(problems(tmp_path / "d.csv")).remedy == "remove this line"


STRAY = LINES.splitlines(keepends=True)
STRAY[9] = '"an opening quote only,1\n'


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            '"another opening quote only,0\n',
            "lines 11 to 26: a quote inside a quoted field is not doubled: "
            '"an opening quote only,1',
        ),
        (
            'a closing quote only",0\n',
            "row 10 on lines 11 to 26: one quoted field holds what look like 16 rows: ",
        ),
        ("no quote,0\n", 'lines 11 to 41: a quoted field is never closed: "an opening quote'),
        ('a "whole" word,0\n', "lines 11 to 26: a quote inside a quoted field is not doubled"),
    ],
)
def test_stray_quotes_lose_no_rows(
    tmp_path: Path, problems: Problems, task_on: TaskOn, second: str, message: str
) -> None:
    lines = [*STRAY]
    lines[24] = second
    file = tmp_path / "d.csv"
    file.write_text("text,label\n" + "".join(lines))
    problem = only(problems(file))
    assert problem.path == "task.data.path"
    assert f"{file}, {message}" in problem.message
    assert len(read(task_on(file, quote="none"))) == 40


def test_stray_quotes_around_a_text_that_is_last(tmp_path: Path, problems: Problems) -> None:
    rows = [f"{number % 2},text {number}" for number in range(40)]
    rows[5], rows[6] = '0,"an opening quote', '1,a closing quote"'
    (tmp_path / "d.csv").write_text("label,text\n" + "\n".join(rows))
    assert "row 6 on lines 7 to 8" in only(problems(tmp_path / "d.csv")).message


def test_stray_quotes_around_numbers(tmp_path: Path, problems: Problems) -> None:
    rows = [f"text {number},{number / 7}" for number in range(40)]
    rows[5], rows[7] = '"an opening quote,0.5', 'a closing quote",0.25'
    (tmp_path / "d.csv").write_text("text,label\n" + "\n".join(rows))
    problem = only(problems(tmp_path / "d.csv", "regression"))
    assert "row 6 on lines 7 to 9: one quoted field holds what look like 3 rows" in problem.message


def test_texts_of_several_lines_are_read(tmp_path: Path, task_on: TaskOn) -> None:
    poem = "Two roads diverged, 1\nin a yellow wood,\n\nand sorry I could not travel both, 7"
    table = "a table:\nplain text 1,1\nplain text 2,0"
    with (tmp_path / "d.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), (poem, 1), (table, 0)])
        stream.write(LINES)
    found = read(task_on(tmp_path / "d.csv"))
    assert (found[poem], found[table], len(found)) == (1, 0, 42)


def test_rows_within_a_text_are_read_if_the_quote_is_stated(
    tmp_path: Path, task_on: TaskOn
) -> None:
    text = "plain text 1,1\nplain text"
    (tmp_path / "d.csv").write_text(f'text,label\n"{text}",0\n' + LINES)
    assert read(task_on(tmp_path / "d.csv", quote='"'))[text] == 0


def test_escaped_quotes_are_read_and_named(tmp_path: Path, task_on: TaskOn) -> None:
    file = tmp_path / "d.csv"
    escaped = [f'"She said \\"word{n}, {n}\\" in C:\\new \\\\ ok",{n % 2}\n' for n in range(40)]
    file.write_text("text,label\n" + "".join(escaped))
    found = read(task_on(file))
    assert found['She said "word7, 7" in C:\\new \\ ok'] == 1
    assert len(found) == 40
    note = only(list(facts(task_on(file)).notes))
    assert (note.path, note.message) == (
        "task.data.escape",
        f"{file} escapes quotes with a backslash",
    )
    assert read(task_on(file, escape="\\")) == found
    assert facts(task_on(file, escape="\\")).notes == ()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])
def test_what_python_escapes_is_read_back(tmp_path: Path, task_on: TaskOn, quoting: int) -> None:
    texts = ['say "hi"', "a, b", "c:\\dir\\", 'a \\" b', "two\nlines", '"', "\\"]
    rows = [(f"{n} {text}", n % 2) for n, text in enumerate([*texts] * 6)]
    with (tmp_path / "d.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, doublequote=False, escapechar="\\", quoting=quoting)  # type: ignore[arg-type]
        writer.writerows([("text", "label"), *rows])
    assert read(task_on(tmp_path / "d.csv", escape="\\")) == dict(rows)


def test_backslashes_of_a_valid_file_are_literal(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.csv").write_text('text,label\n"a, C:\\",1\nb \\" c,0\n' + LINES)
    found = read(task_on(tmp_path / "d.csv"))
    assert (found["a, C:\\"], found['b \\" c']) == (1, 0)
    assert facts(task_on(tmp_path / "d.csv")).notes == ()


def test_escapes_that_do_not_explain_a_file(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_text('text,label\n"a \\"b\\" c",1\n"d "e" f",0\n' + LINES)
    assert "line 2: a quote inside a quoted" in only(problems(tmp_path / "d.csv")).message
    found = only(problems(tmp_path / "d.csv", escape="\\"))
    assert "line 3: a quote inside a quoted" in found.message


@pytest.mark.parametrize("settings", [{}, {"text": "1", "label": "2"}])
def test_long_fields_and_rows(tmp_path: Path, task_on: TaskOn, settings: dict[str, str]) -> None:
    texts = ["x " * 100_000, "y, " * 500_000]
    rows = "".join(f'"{text}",1\n' for text in texts)
    header = "" if settings else "text,label\n"
    (tmp_path / "d.csv").write_text(header + rows + LINES)
    limit = csv.field_size_limit()
    found = read(task_on(tmp_path / "d.csv", **settings))
    assert csv.field_size_limit() == limit
    assert set(texts) <= set(found)


def test_a_field_beyond_all_bounds(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "d.csv").write_text('text,label\na,0\n"' + "x\n" * (1 << 23) + LINES)
    problem = only(problems(tmp_path / "d.csv"))
    assert "d.csv, lines 3 to " in problem.message
    assert "a field has more than 16,777,216 characters" in problem.message
    assert problem.remedy.startswith("close its quote")


def across_blocks(quoted: bool) -> bytes:
    """A file with a line end (CR LF) at bytes 2^20 - 1 and 2^20, in a field or after a row."""
    head = b'text,label\r\n"a\r\nb",0\r\n"'
    filler = b"x" * ((1 << 20) - 1 - len(head) - (0 if quoted else 3))
    end = b'\r\nz",1\r\n' if quoted else b'",1\r\n'
    rows = "".join(f"t {n},{n % 2}\r\n" for n in range(40)).encode()
    content = head + filler + end + rows
    assert content[(1 << 20) - 1 : (1 << 20) + 1] == b"\r\n"
    return content


def test_line_ends_across_blocks(tmp_path: Path, task_on: TaskOn) -> None:
    (tmp_path / "d.csv").write_bytes(across_blocks(quoted=True))
    long = max(read(task_on(tmp_path / "d.csv")), key=len)
    assert long.endswith("x\r\nz")


def test_only_files_that_were_misread_have_another_fingerprint(
    tmp_path: Path, task_on: TaskOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, quoted in {"a.csv": True, "b.csv": False}.items():
        (tmp_path / name).write_bytes(across_blocks(quoted))
        now = facts(task_on(tmp_path / name)).fingerprint
        with monkeypatch.context() as patch:
            patch.setattr("flexkd_platform.data.delimited.misread_before", lambda *_: False)
            found.append(now == facts(task_on(tmp_path / name)).fingerprint)
    assert found == [False, True]


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({"delimiter": ";", "quote": ";"}, "task.data.quote", "';' is the delimiter too"),
        ({"quote": "|", "escape": "|"}, "task.data.escape", "'|' is the quote too"),
    ],
)
def test_equal_characters(
    tmp_path: Path, problems: Problems, settings: dict[str, str], path: str, message: str
) -> None:
    (tmp_path / "d.csv").write_text("text,label\n" + LINES)
    found = problems(tmp_path / "d.csv", **settings)
    assert (path, message) in [(problem.path, problem.message) for problem in found]


def test_a_dialect_of_no_csv(tmp_path: Path, problems: Problems) -> None:
    rows = [f'{{"text": "t {n}", "label": {n % 2}}}' for n in range(40)]
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    found = problems(tmp_path / "d.jsonl", delimiter=";", quote="none")
    assert [problem.path for problem in found] == ["task.data.delimiter", "task.data.quote"]
    assert "has no effect" in found[0].message


def arrow_rows(content: bytes) -> list[tuple[str, ...]] | None:
    """As earlier versions read rows of two columns; None if they refused them."""
    ragged: list[Any] = []

    def skip(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pacsv.ConvertOptions(
                column_types={"x": pa.string(), "y": pa.string()}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return None if ragged else [tuple(row.values()) for row in table.to_pylist()]


def test_what_strict_csv_accepts_pyarrow_reads_alike() -> None:
    """So that data sets that were read right keep their hashes: random bytes of up to 16."""
    draw = random.Random(0)
    read_alike = 0
    for _ in range(5000):
        body = "".join(draw.choices('ab",\n\r \\', k=draw.randint(1, 16)))
        lines = io.StringIO("x,y\n" + body, newline="")
        try:
            rows = [tuple(row) for row in Dialect().reader(lines) if row]
        except csv.Error:
            continue
        if any(len(row) != 2 for row in rows):
            continue
        assert arrow_rows(f"x,y\n{body}".encode()) == rows[1:]
        read_alike += 1
    assert read_alike > 100
