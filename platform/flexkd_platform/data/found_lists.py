"""Whether the labels of classification files are lists, which are several classes per row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..spec import FilesData, JobSpec, MultilabelTask, Problem, SpecError
from .files import training_files


def with_label_lists(spec: JobSpec) -> tuple[JobSpec, list[Problem]]:
    """The spec as a multi-label job, with a note, if it is of classification and has lists.

    Only the first row of the first training file is read: an invalid one stays for the checks. A
    spec whose other sections do not fit a multi-label task stays as it is too.
    """
    data = spec.task.data
    if spec.task.kind != "classification" or not isinstance(data, FilesData):
        return spec, []
    try:
        files = training_files(data.path)
        lists = bool(files) and _starts_with_list(files[0], data.label)
    except (OSError, ValueError, pa.ArrowException):
        return spec, []
    if not lists:
        return spec, []
    values = spec.to_json()
    task = {**values["task"], "kind": "multilabel"}
    task["data"] = _renamed(task["data"])
    task["evaluation"] = {name: _renamed(one) for name, one in task["evaluation"].items()}
    known = MultilabelTask.model_fields
    task = {name: value for name, value in task.items() if name in known}
    try:
        changed = JobSpec.model_validate_json(json.dumps({**values, "task": task}))
    except (ValueError, SpecError):
        return spec, []
    message = f"classification, but the labels of {data.path} are lists of classes"
    remedy = f"state it, as kind: multilabel with data.labels: {data.label}"
    return changed, [Problem("task.kind", message, remedy)]


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    return {"labels" if name == "label" else name: value for name, value in data.items()}


def _starts_with_list(file: Path, column: str) -> bool:
    """Whether the column is a list in the schema, or in the first object."""
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        schema = pq.read_schema(file)
        return column in schema.names and pa.types.is_nested(schema.field(column).type)
    if suffix not in (".jsonl", ".json"):
        return False
    with file.open(encoding="utf-8-sig") as stream:
        first = next((line for line in stream if line.strip()), "")
        if suffix == ".json" and first.lstrip().startswith("["):
            stream.seek(0)
            first = json.dumps(next(iter(json.load(stream)), None))
    row = json.loads(first)
    return isinstance(row, dict) and isinstance(row.get(column), list)
