"""Small files in every format, and tasks on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import check_data
from flexkd_platform.spec import ClassificationTask, FilesData, Problem, RegressionTask, Task

Rows = Sequence[tuple[Any, Any]]

WriteRows = Callable[[str, Rows], Path]
Problems = Callable[..., list[Problem]]


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Write rows of text and label to a file of `tmp_path`, in the format its name says."""

    def write(name: str, rows: Rows) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            texts, labels = ([row[place] for row in rows] for place in (0, 1))
            pq.write_table(pa.table({"other": texts, "label": labels, "text": texts}), file)
        elif file.suffix == ".jsonl":
            lines = [json.dumps({"other": 1, "text": text, "label": y}) for text, y in rows]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        elif file.suffix == ".json":
            entries = [{"other": 1, "text": text, "label": y} for text, y in rows]
            file.write_text(json.dumps(entries, indent=1), encoding="utf-8")
        elif file.suffix == ".csv":
            with file.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([("text", "label"), *rows])
        else:
            lines = [f"{label}\t{text}\n" for text, label in [("text", "label"), *rows]]
            file.write_text("".join(lines), encoding="utf-8")
        return file

    return write


def task_on(path: Path | str, kind: str = "classification", **settings: Any) -> Task:
    classes = settings.pop("classes", None)
    data = FilesData(source="files", path=str(path), **settings)
    if kind == "regression":
        return RegressionTask(kind="regression", data=data)
    return ClassificationTask(data=data, classes=classes)


@pytest.fixture(name="task_on")
def task_on_fixture() -> Callable[..., Task]:
    """`task_on(path, kind="classification", classes=None, **settings of the data)`."""
    return task_on


@pytest.fixture
def problems() -> Problems:
    """What `check_data` finds in a file or folder; the arguments are those of `task_on`."""

    def found(path: Path | str, kind: str = "classification", **settings: Any) -> list[Problem]:
        facts, found = check_data(task_on(path, kind, **settings))
        assert (facts is None) == bool(found)
        return found

    return found
