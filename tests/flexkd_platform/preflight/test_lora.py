"""Adapters that cannot be trained are refused before anything starts; quantised students, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.preflight import lora as checks
from flexkd_platform.preflight.lora import lora_problems
from flexkd_platform.spec import JobSpec, SpecError, load_spec

LORA = {"lora": {"r": 4}}


def spec_of(folder: Path, student: dict[str, Any], **sections: Any) -> JobSpec:
    file = folder / "job.yaml"
    sweep = {"methods": [{"kind": "ft"}], "seeds": [1]}
    file.write_text(json.dumps({"name": "a", "student": student, "sweep": sweep, **sections}))
    return load_spec(file)


def paths(spec: JobSpec) -> list[str]:
    problems = list(lora_problems(spec))
    assert all(problem.remedy for problem in problems)
    return [problem.path for problem in problems]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("student", "sections", "expected"),
    [
        (LORA, {}, []),
        (LORA | {"init": {"kind": "aligned"}}, {}, []),
        (LORA | {"init": {"kind": "random"}}, {}, ["student.lora"]),
        (LORA | {"warm_up": {}}, {}, ["student.warm_up"]),
        (LORA, {"resources": {"parallel": "fsdp", "trial_workers": 2}}, ["resources.parallel"]),
        (LORA, {"resources": {"parallel": "ddp", "trial_workers": 2}}, []),
        (LORA, {"resources": {"parallel": "fsdp", "trial_workers": 1}}, []),
        ({}, {"resources": {"parallel": "fsdp", "trial_workers": 2}}, []),
    ],
)
def test_combinations(
    student: dict[str, Any], sections: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    assert paths(spec_of(tmp_path, student, **sections)) == expected


def test_without_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    (problem,) = lora_problems(spec_of(tmp_path, LORA))
    assert problem.path == "student.lora"
    assert "pip install 'flexkd[peft]'" in problem.remedy
    assert paths(spec_of(tmp_path, {})) == []


@pytest.mark.parametrize(
    "lora", [{"r": 0}, {"alpha": 0}, {"dropout": 1.0}, {"target": []}, {"export": "both"}, {"x": 1}]
)
def test_values(lora: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        spec_of(tmp_path, {"lora": lora})


def test_a_quantised_student_is_trained_by_an_adapter_alone(material: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(material / "teacher", tmp_path / "student"))
    init = {"init": {"kind": "pretrained", "model": str(folder)}}
    assert paths(spec_of(tmp_path, init)) == []
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (folder / "config.json").write_text(json.dumps(config))
    (problem,) = lora_problems(spec_of(tmp_path, init))
    assert problem.path == "student.init.model"
    assert "is quantised (fp8)" in problem.message
    assert paths(spec_of(tmp_path, init | LORA)) == []
