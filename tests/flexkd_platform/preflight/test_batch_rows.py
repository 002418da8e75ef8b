"""Feature losses that compare the rows of a batch need rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.data import DataFacts
from flexkd_platform.preflight.batch_rows import batch_row_problems, batch_row_warnings
from flexkd_platform.spec import METHODS, JobSpec, load_spec

COMPARING = ["flexkd", "cka", "procrustes", "gram"]


def spec_of(tmp_path: Path, method: dict[str, Any], **sections: Any) -> JobSpec:
    file = tmp_path / "job.yaml"
    spec = {"name": "rows", "sweep": {"methods": [method], "seeds": [1]}} | sections
    file.write_text(json.dumps(spec))
    return load_spec(file)


def data(rows: int) -> DataFacts:
    return DataFacts("", {"train": rows, "validation": 9, "test": 9}, 2)


def paths(spec: JobSpec, rows: int = 100) -> list[str]:
    return [problem.path for problem in batch_row_problems(spec, data(rows))]


@pytest.mark.parametrize("size", [1, 2, 3, 15, 16])
@pytest.mark.parametrize("kind", COMPARING)
def test_a_batch_of_one_or_two_rows_is_refused(tmp_path: Path, kind: str, size: int) -> None:
    spec = spec_of(tmp_path, {"kind": kind}, distill={"batch_size": size})
    assert paths(spec) == (["distill.batch_size"] if size < 3 else [])
    warned = [w.path for w in batch_row_warnings(spec, data(100))]
    assert warned == (["distill.batch_size"] if size < 16 else [])


@pytest.mark.parametrize(
    "method",
    [
        {"kind": "ft"},
        {"kind": "kd"},
        {"kind": "projector"},
        {"kind": "flexkd", "loss": "mse"},
        {"kind": "flexkd", "loss": "cosine"},
        {"kind": "cka", "alpha": 0, "beta": 1},
    ],
)
def test_losses_by_row_take_any_batch(tmp_path: Path, method: dict[str, Any]) -> None:
    spec = spec_of(tmp_path, method, distill={"batch_size": 1})
    assert paths(spec) == []
    assert list(batch_row_warnings(spec, data(100))) == []


def test_a_correlation_after_a_projector_compares_rows(tmp_path: Path) -> None:
    method = {"kind": "projector", "loss": "correlation"}
    assert paths(spec_of(tmp_path, method, distill={"batch_size": 2})) == ["distill.batch_size"]


def test_few_rows_are_few_in_any_batch(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, {"kind": "cka"})
    assert paths(spec, rows=2) == ["task.data.train"]
    few = spec_of(tmp_path, {"kind": "cka"}, student={"labels": 2})
    assert paths(few) == ["student.labels"]
    assert paths(spec_of(tmp_path, {"kind": "cka"}, student={"labels": 2, "unlabelled": 1})) == []
    scaled = {"kind": "cka", "normalise": "gradient"}
    spec = spec_of(tmp_path, scaled, student={"labels": 2, "unlabelled": True})
    assert paths(spec) == ["student.labels"]


def test_rows_of_text_are_tokens(tmp_path: Path) -> None:
    task = {"kind": "instruction"}
    spec = spec_of(tmp_path, {"kind": "cka"}, task=task, distill={"batch_size": 1})
    assert paths(spec) == []


def test_every_method_says_whether_it_compares_rows(tmp_path: Path) -> None:
    found = {
        kind
        for kind in METHODS
        for method in spec_of(tmp_path, {"kind": kind}).sweep.methods
        if method.compares_rows
    }
    assert found == set(COMPARING)
