"""Checks of models that are remembered: the same answer, and never that of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from flexkd_platform import models
from flexkd_platform.preflight import model_checks
from flexkd_platform.preflight.model_checks import checked_config, checked_model, checked_student
from flexkd_platform.spec import BlankModel, PretrainedInit, SlicedInit


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checks that were done, with nothing remembered before."""
    monkeypatch.setenv(model_checks.CACHE, str(tmp_path / "cache"))
    done: list[str] = []

    def counted(name: str) -> Any:
        check = getattr(models, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            done.append(name)
            return check(*arguments, **named)

        return wrapper

    for name in ("check_model", "check_config", "check_student"):
        monkeypatch.setattr(models, name, counted(name))
    return done


@pytest.fixture
def teacher(material: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(material / "teacher", tmp_path / "teacher"))


def facts(folder: Path) -> Any:
    found, problems = checked_model(str(folder), None, path="teacher.model")
    assert problems == []
    assert found is not None
    return found


def test_facts_are_the_same_when_they_are_remembered(teacher: Path, checked: list[str]) -> None:
    first = facts(teacher)
    init = SlicedInit(kind="sliced", layers=2, hidden_size=12)
    blank = BlankModel(config={"model_type": "gpt2", "n_embd": 16, "n_head": 4}, vocab_size=400)
    wanted = [
        first,
        checked_student(init, first, must_fit=True)[0],
        checked_config(blank, path="teacher.model.config")[0],
    ]
    assert checked == ["check_model", "check_student", "check_config"]
    again = [
        facts(teacher),
        checked_student(init, first, must_fit=True)[0],
        checked_config(blank, path="teacher.model.config")[0],
    ]
    assert again == wanted
    assert len(checked) == 3


def test_the_same_files_in_another_folder_are_the_same_model(
    teacher: Path, checked: list[str], tmp_path: Path
) -> None:
    first = facts(teacher)
    assert facts(Path(shutil.copytree(teacher, tmp_path / "copy"))) == first
    assert checked == ["check_model"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_changed_is_checked_anew(name: str, teacher: Path, checked: list[str]) -> None:
    facts(teacher)
    (teacher / name).write_bytes((teacher / name).read_bytes()[:-2])
    for _ in range(2):  # what is wrong is not remembered
        found, problems = checked_model(str(teacher), None, path="teacher.model")
        assert found is None
        assert problems
    assert checked == ["check_model"] * 3


def test_a_file_that_is_added_is_checked_anew(teacher: Path, checked: list[str]) -> None:
    facts(teacher)
    (teacher / "notes.json").write_text("{}")
    facts(teacher)
    assert checked == ["check_model"] * 2


def test_an_adapter_that_is_added_is_not_passed_over(teacher: Path, checked: list[str]) -> None:
    facts(teacher)
    (teacher / "adapter_config.json").write_text("{}")
    found, (problem,) = checked_model(str(teacher), None, path="teacher.model")
    assert found is None
    assert "a whole model and a PEFT adapter" in problem.message


def test_an_adapter_is_checked_anew_if_its_base_changed(
    teacher: Path, checked: list[str], tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"])
    model = peft.get_peft_model(AutoModel.from_pretrained(teacher), config)
    adapter = tmp_path / "adapter"
    model.save_pretrained(adapter)
    first = facts(adapter)
    assert facts(adapter) == first
    done = len(checked)  # the adapter's check has that of its base inside
    weights = load_file(teacher / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, teacher / "model.safetensors", {"format": "pt"})
    assert facts(adapter).fingerprint != first.fingerprint
    assert len(checked) > done


@pytest.mark.parametrize("changed", ["code", "packages"])
def test_other_code_checks_anew(
    changed: str, teacher: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts(teacher)
    monkeypatch.setattr(model_checks, f"_{changed}", lambda: "another")
    facts(teacher)
    assert checked == ["check_model"] * 2


def test_a_student_is_checked_against_its_own_teacher(teacher: Path, checked: list[str]) -> None:
    found = facts(teacher)
    init = PretrainedInit(kind="pretrained", model=str(teacher))
    for must_fit in (True, False, True):
        assert checked_student(init, found, must_fit=must_fit) == (found, [])
    # `check_student` looks at the model by itself.
    assert checked.count("check_student") == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stacks": []}'])
def test_a_broken_file_is_written_anew(
    text: str, teacher: Path, checked: list[str], tmp_path: Path
) -> None:
    first = facts(teacher)
    (file,) = (tmp_path / "cache" / "models").iterdir()
    file.write_text(text)
    assert facts(teacher) == first
    assert json.loads(file.read_text())["fingerprint"] == first.fingerprint
    assert checked == ["check_model"] * 2


def test_a_folder_that_cannot_be_written_does_no_harm(
    teacher: Path, checked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(model_checks.CACHE, str(tmp_path / "file" / "cache"))
    assert facts(teacher) == facts(teacher)
    assert checked == ["check_model"] * 2


def test_without_a_home_nothing_is_remembered(
    teacher: Path, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (model_checks.CACHE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert facts(teacher) == facts(teacher)
    assert checked == ["check_model"] * 2
