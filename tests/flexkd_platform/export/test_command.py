"""`flexkd export`: what it prints, and where students go besides a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from transformers import pipeline

from flexkd_platform.cli.app import main

from .conftest import NAMES, SWEEP, Job
from .hub_server import TOKEN, Hub, running_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, for this process, and its token."""
    with running_hub() as found:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


class Command:
    """`flexkd export` on one storage."""

    def __init__(self, job: Job, capsys: pytest.CaptureFixture[str]) -> None:
        self._job, self._capsys = job, capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        given = main(["export", *arguments, "--storage", str(self._job.storage)])
        captured = self._capsys.readouterr()
        self.err = captured.err
        assert given == code, captured.err + captured.out
        return captured.out

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*arguments, "--json", code=code).splitlines()[-1])
        return found


@pytest.fixture
def export(classified: Job, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(classified, capsys)


def test_it_says_what_it_chose_and_wrote(export: Command, tmp_path: Path) -> None:
    printed = export("tiny", str(tmp_path / "out"))
    lines = printed.splitlines()
    assert lines[0].startswith("student: ")
    assert " of job tiny-" in lines[0]
    assert lines[1].startswith("chosen by validation/accuracy (")
    assert lines[1].endswith("from 6 trials")
    assert "model.safetensors" in lines[2]


def test_as_json(export: Command, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    found = export.json("tiny:flexkd,α=0.5,seed=20", folder)
    assert found["trial"]["params"] == {"alpha": 0.5}
    assert found["trial"]["seed"] == 20
    assert found["chosen_by"] is None
    assert found["folder"] == folder
    assert "README.md" in found["files"]


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        (["tiny"], "DIR", "nowhere to write to"),
        (["tiny", "OUT", "--public"], "--public", "only a repository"),
        (["other", "OUT"], "", "no job 'other'"),
        (["tiny:kd", "OUT"], "JOB", "no trial of method 'kd'"),
        (["tiny", "OUT", "--register", "a/b"], "--register", "'a/b' is not a name"),
        (["tiny", "OUT", "--register", "a"], "--register", "the trial is recorded nowhere"),
        (["tiny", "--register", "a", "--tracking-uri", "none"], "--tracking-uri", "a registry"),
    ],
)
def test_a_wrong_request_writes_nothing(
    export: Command, tmp_path: Path, arguments: list[str], path: str, message: str
) -> None:
    given = [str(tmp_path / "out") if each == "OUT" else each for each in arguments]
    (problem,) = export.json(*given, code=2)["problems"]
    assert problem["path"] == path
    assert message in problem["message"]
    assert problem["remedy"]
    assert not (tmp_path / "out").exists()


def test_problems_of_all_places_are_told_at_once(
    export: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    (tmp_path / "kept").write_text("")
    arguments = [str(tmp_path), "--register", "a", "--push-to-hub", "ada/student"]
    problems = export.json("tiny", *arguments, code=2)["problems"]
    assert [problem["path"] for problem in problems] == ["DIR", "--register", "--push-to-hub"]
    assert "hf auth login" in problems[2]["remedy"]


def test_a_student_is_pushed_to_the_hub(export: Command, hub: Hub, tmp_path: Path) -> None:
    found = export.json("tiny", str(tmp_path / "out"), "--push-to-hub", "ada/student")
    assert found["pushed"]["url"] == f"{hub.address}/ada/student"
    assert hub.repositories == {"ada/student": True}, "a new repository is private"
    assert set(hub.files) == set(found["files"])
    for name, content in hub.files.items():
        assert content == (tmp_path / "out" / name).read_bytes(), name
    assert hub.messages[0].startswith(f"Export {found['trial']['method']} ")
    export("tiny", "--push-to-hub", "ada/open", "--public")  # without a folder
    assert hub.repositories["ada/open"] is False


def test_a_hub_that_refuses_is_an_error_without_a_traceback(
    export: Command, hub: Hub, tmp_path: Path
) -> None:
    hub.refuse = 403
    export("tiny", str(tmp_path / "out"), "--push-to-hub", "ada/student", code=1)
    assert "error: ada/student was not uploaded: " in export.err
    assert (tmp_path / "out" / "model.safetensors").is_file(), "the folder stays"


def test_a_wrong_name_or_token_of_the_hub_is_found_first(
    export: Command, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = export.json("tiny", "--push-to-hub", "a/b/c", code=2)["problems"]
    assert "USER/MODEL" in problem["remedy"]
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    (problem,) = export.json("tiny", "--push-to-hub", "ada/student", code=2)["problems"]
    assert problem["path"] == "--push-to-hub"
    assert hub.repositories == {}


def test_a_registered_student_predicts_as_the_folder(
    classified: Job, export: Command, tmp_path: Path
) -> None:
    """The job is recorded by running it again; MLflow then loads, serves and lists the version."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert classified.run(SWEEP, NAMES, tracking=uri) == 0
    export.json(
        "tiny:ft,seed=10", str(tmp_path / "out"), "--register", "a b", "--tracking-uri", uri
    )
    found = export.json("tiny:ft,seed=10", "--register", "a b", "--tracking-uri", uri)
    registered = {"name": "a b", "version": "2", "uri": "models:/a b/2", "tracking_uri": uri}
    assert found["registered"] == registered
    version = MlflowClient(uri).get_model_version("a b", "2")
    assert (
        MlflowClient(uri).get_run(version.run_id).data.tags["flexkd.hash"] == found["trial"]["hash"]
    )
    assert version.description.startswith("tiny ft seed 10, of flexkd job tiny-")
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(version.source)
    assert model.metadata.flavors["transformers"]["task"] == "text-classification"
    assert model.metadata.get_input_schema().input_names() == ["text"]
    assert model.input_example is not None
    texts = ["red tall tree", "blue " * 50]
    predicted = model.predict(pd.DataFrame({"text": texts}))
    expected = pipeline("text-classification", str(tmp_path / "out"))(texts, truncation=True)
    assert predicted["label"].tolist() == [each["label"] for each in expected]
    assert predicted["score"].tolist() == pytest.approx([each["score"] for each in expected])
    local = Path(mlflow.artifacts.download_artifacts(version.source))
    (card,) = local.glob("model_card.md")
    for file in (card, local / "MLmodel", local / "LICENSE.txt"):
        assert str(classified.storage.parent) not in file.read_text(), "a path of this machine"
