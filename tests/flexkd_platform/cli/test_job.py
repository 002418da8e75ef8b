"""A whole job from the command line, without Ray: what it leaves, and what it does again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file, save_file

from flexkd_platform.cli.app import main

SPEC = """\
name: tiny
task: {{kind: classification, max_length: 12, data: {{source: files, path: "{data}"}}}}
teacher: {{model: "{teacher}", finetune: {{epochs: 2, batch_size: 8, learning_rate: 1e-3}}}}
student: {{init: {{kind: sliced, layers: 2, hidden_size: 8}}}}
score: {{chunk: 8}}
distill: {{epochs: 2, batch_size: 8, learning_rate: 1e-3}}
sweep:
  methods: [{{kind: ft}}, {{kind: flexkd, alpha: [0.05, 0.5]}}]
  seeds: [10, 20]
resources: {{teacher_cpus: 1}}
"""


KD = "sweep.methods=[{kind: ft}, {kind: kd}]"


class Bench:
    """A folder with a spec and a storage, and the `flexkd` command on them."""

    def __init__(self, folder: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.storage, self._capsys = folder, folder / "storage", capsys
        self.spec = folder / "job.yaml"
        self.spec.write_text(SPEC.format(data=world / "reviews", teacher=world / "teacher"))

    def flexkd(self, command: str, *arguments: str, code: int = 0) -> str:
        """Standard output of a command that must end with `code`."""
        given = main([command, *arguments, "--storage", str(self.storage)])
        captured = self._capsys.readouterr()
        assert given == code, captured.err + captured.out
        return captured.out

    def run(self, *overrides: str, code: int = 0) -> dict[str, Any]:
        """results.json of a run without Ray."""
        sets = [part for override in overrides for part in ("--set", override)]
        out = self.flexkd("run", str(self.spec), "--address", "none", "--json", *sets, code=code)
        results: dict[str, Any] = json.loads(out.splitlines()[-1])
        return results

    def job_folder(self, results: dict[str, Any]) -> Path:
        """`<storage>/jobs/<name>-<short hash>/`."""
        job = results["job"]
        return self.storage / "jobs" / f"{job['name']}-{job['spec_hash'][:8]}"

    def runs(self) -> list[Run]:
        """Everything that MLflow has of experiment `tiny`."""
        client = MlflowClient(f"sqlite:///{self.storage}/mlflow.db")
        experiment = client.get_experiment_by_name("tiny")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def fresh(tmp_path: Path, tiny_world: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench whose storage is empty."""
    return Bench(tmp_path, tiny_world, capsys)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory, tiny_world: Path) -> Path:
    """The artifacts of the job, without a trace of a job."""
    folder = tmp_path_factory.mktemp("steps")
    spec = folder / "job.yaml"
    spec.write_text(SPEC.format(data=tiny_world / "reviews", teacher=tiny_world / "teacher"))
    where = ["--storage", str(folder), "--tracking-uri", "none", "--address", "none"]
    assert main(["run", str(spec), *where]) == 0
    return folder / "steps"


@pytest.fixture
def bench(fresh: Bench, steps: Path) -> Bench:
    """A bench whose storage has the artifacts of the job: only what differs is trained."""
    shutil.copytree(steps, fresh.storage / "steps")
    return fresh


def statuses(results: dict[str, Any], what: str) -> list[str]:
    return [entry["status"] for entry in results[what]]


def test_a_job_leaves_what_others_rely_on(bench: Bench) -> None:
    results = bench.run()
    expected = {"job", "datasets", "steps", "teacher", "selection", "trials", "groups", "texts"}
    expected |= {"winner"}
    assert set(results) == expected
    assert results["job"]["status"] == "done"
    folder = bench.job_folder(results)
    assert json.loads((folder / "results.json").read_text()) == results
    for name in ("spec.yaml", "plan.json", "ledger.jsonl", "report/index.html"):
        assert (folder / name).is_file()
    kinds = [step["kind"] for step in results["steps"]]
    assert sorted(set(kinds)) == sorted(
        ["dataset", "teacher", "score", "cache", "select", "distill", "evaluate"]
    )
    for step in results["steps"]:
        assert (bench.storage / "steps" / step["kind"] / step["hash"] / "manifest.json").is_file()
    assert len(results["trials"]) == 6
    assert {g["method"]: g["n"] for g in results["groups"]} == {"ft": 2, "flexkd": 2}
    (selection,) = results["selection"]
    assert selection["d_teacher"] == 16
    assert selection["d_student"] == len(selection["units"]) == 8
    assert len(selection["score_digest"]) == 64
    assert set(results["teacher"]["metrics"]) >= {"test/accuracy", "validation/accuracy"}


def test_the_same_command_reuses_everything(fresh: Bench) -> None:
    first = fresh.run()
    again = fresh.run()
    assert set(statuses(first, "steps")) == {"ran"}
    assert set(statuses(again, "steps")) == {"reused"}
    assert set(statuses(again, "trials")) == {"reused"}
    assert again["groups"] == first["groups"]
    assert len(fresh.runs()) == 7  # one job and six trials, none twice


def test_another_alpha_or_seed_runs_only_its_own_trials(bench: Bench) -> None:
    bench.run()
    more = bench.run("sweep.methods=[{kind: ft}, {kind: flexkd, alpha: [0.05, 0.5, 1.0]}]")
    assert statuses(more, "trials").count("done") == 2
    seeds = bench.run("sweep.seeds=[10, 20, 30]")
    ran = [trial for trial in seeds["trials"] if trial["status"] == "done"]
    assert {trial["seed"] for trial in ran} == {30}
    shared = [s for s in seeds["steps"] if s["kind"] not in {"distill", "evaluate"}]
    assert {step["status"] for step in shared} == {"reused"}


def test_another_metric_evaluates_again_without_training(bench: Bench) -> None:
    bench.run("evaluate.metrics=[accuracy]")
    results = bench.run("evaluate.metrics=[accuracy, f1]")
    by_kind = {step["kind"]: step["status"] for step in results["steps"]}
    assert by_kind["distill"] == "reused"
    assert by_kind["evaluate"] == "ran"
    assert (
        len(
            {run.data.tags["flexkd.hash"] for run in bench.runs() if "flexkd.hash" in run.data.tags}
        )
        == 6
    )


def test_mlflow_has_everything(bench: Bench) -> None:
    results = bench.run()
    runs = bench.runs()
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.run_id for run in children} == {t["run_id"] for t in results["trials"]}
    assert parent.inputs is not None
    assert parent.inputs.dataset_inputs[0].dataset.digest
    assert "flexkd.version.torch" in parent.data.tags
    client = MlflowClient(f"sqlite:///{bench.storage}/mlflow.db")
    files = files_of(client, parent.info.run_id)
    for ending in (
        "importance.safetensors",
        "units.json",
        "spec.yaml",
        "results.json",
        "artifacts.json",
        "index.html",
    ):
        assert any(name.endswith(ending) for name in files), (ending, files)
    child = children[0]
    assert "test/accuracy" in child.data.metrics
    history = client.get_metric_history(child.info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(1, 9))  # 2 epochs of 4 batches
    assert files_of(client, child.info.run_id) == [], "a student stays in the storage"
    student = Path(child.data.tags["flexkd.student"])
    assert student.is_relative_to(bench.storage / "steps" / "distill")
    assert (student / "model" / "model.safetensors").is_file()


def files_of(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    found = []
    for entry in client.list_artifacts(run_id, folder):
        found += files_of(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return found


def test_compare_in_every_format(bench: Bench) -> None:
    results = bench.run()
    rows = json.loads(bench.flexkd("compare", "tiny", "--format", "json"))
    ours = {
        json.dumps(g["params"]): g["metrics"]["test/accuracy"]["mean"] for g in results["groups"]
    }
    theirs = {json.dumps(r["params"]): r["metrics"]["test/accuracy"]["mean"] for r in rows}
    assert theirs == ours
    assert bench.flexkd("compare", "tiny", "--format", "csv").startswith("method,params,n")
    assert bench.flexkd("compare", "tiny", "--format", "markdown").startswith("| method |")
    assert "flexkd" in bench.flexkd("compare")


def test_plan_says_what_is_there(fresh: Bench) -> None:
    before = json.loads(fresh.flexkd("plan", str(fresh.spec), "--json"))
    assert not any(entry["present"] for entry in before["steps"] + before["trials"])
    assert before["teacher_cache_bytes"] == 26 * 16 * 4  # no method reads the two outputs
    outputs = fresh.flexkd("plan", str(fresh.spec), "--json", "--set", KD)
    assert json.loads(outputs)["teacher_cache_bytes"] == 26 * 2 * 4
    fresh.run()
    after = json.loads(fresh.flexkd("plan", str(fresh.spec), "--json"))
    assert all(entry["present"] for entry in after["steps"] + after["trials"])
    assert [s["hash"] for s in after["steps"]] == [s["hash"] for s in before["steps"]]


@pytest.mark.parametrize("workers", [1, 2])
def test_without_ray_a_plan_counts_one_of_everything(bench: Bench, workers: int) -> None:
    wide = [f"resources.{what}_workers={workers}" for what in ("score", "trial")]
    sets = [part for override in wide for part in ("--set", override)]
    shown = bench.flexkd("plan", str(bench.spec), "--json", "--address", "none", *sets)
    numbers = json.loads(shown)
    assert numbers["concurrent_trials"] == 1
    assert numbers["peak"] == {"cpus": 1, "gpus": 0}


def test_what_validate_says_is_one_line(bench: Bench) -> None:
    """However long, and whatever rich would take for markup, in the path of the spec."""
    folder = bench.folder / "[bold]" / ("a" * 100)
    folder.mkdir(parents=True)
    spec = folder / "job.yaml"
    spec.write_text(bench.spec.read_text())
    said = bench.flexkd("validate", str(spec))
    assert said.startswith(f"{spec} is valid: 6 trials, job tiny-")
    assert said.splitlines()[1].startswith("classes: 0, 1")


def test_the_report_can_be_written_again(bench: Bench) -> None:
    results = bench.run()
    page = bench.job_folder(results) / "report/index.html"
    first = page.read_text()
    page.unlink()
    assert bench.flexkd("report", "tiny").strip() == str(page)
    assert page.read_text() == first
    assert json.loads(bench.flexkd("report", "tiny", "--json")) == {"report": str(page)}


def test_a_deleted_experiment_is_found_before_anything_starts(bench: Bench) -> None:
    bench.run()
    client = MlflowClient(f"sqlite:///{bench.storage}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    for command in ("validate", "run"):
        told = bench.flexkd(command, str(bench.spec), "--address", "none", "--json", code=2)
        (problem,) = json.loads(told)["problems"]
        assert problem["path"] == "tracking.experiment"
        assert "the experiment 'tiny' was deleted" in problem["message"]


def test_a_failing_trial_leaves_the_others(fresh: Bench) -> None:
    axis = "sweep.axes={distill.learning_rate: [1e-3, 1e30]}"
    results = fresh.run(axis, code=1)
    assert results["job"]["status"] == "failed"
    failed = [trial for trial in results["trials"] if trial["status"] == "failed"]
    assert len(failed) == 6
    assert statuses(results, "trials").count("done") == 6
    assert all("the loss is" in trial["reason"] for trial in failed)
    assert all(group["n"] == 2 for group in results["groups"])
    marked = [run for run in fresh.runs() if run.info.status == "FAILED"]
    assert len(marked) == 7  # six trials and their job
    again = fresh.run(axis, code=1)  # what failed is tried again, what is done is not
    assert statuses(again, "trials").count("reused") == 6


def test_a_failure_is_told_on_the_terminal(bench: Bench) -> None:
    out = bench.flexkd(
        "run", str(bench.spec), "--address", "none", "--set", "distill.learning_rate=1e30", code=1
    )
    assert "FAILED — the loss is" in out
    assert "failed in" in out


def test_nan_in_the_teacher_names_the_example(bench: Bench, poisoned: Callable[[], Path]) -> None:
    random = "student={init: {kind: random, layers: 2, hidden_size: 8}}"  # no slice of the poison
    results = bench.run(f"teacher.model={poisoned()}", "teacher.finetune=null", random, code=1)
    (score,) = [step for step in results["steps"] if step["kind"] == "score"]
    assert score["status"] == "failed"
    assert "training example 13" in score["reason"]
    done = [trial["method"] for trial in results["trials"] if trial["status"] == "done"]
    assert done == ["ft", "ft"]  # it needs no teacher


@pytest.fixture
def poisoned(bench: Bench) -> Callable[[], Path]:
    """A fitted teacher whose outputs are NaN on the word `once`; training example 13 has it.

    Its weights are finite, as preflight demands: the variance of an embedding overflows.
    """

    def make() -> Path:
        results = bench.run("sweep.methods=[{kind: ft}]")
        (teacher,) = [step for step in results["steps"] if step["kind"] == "teacher"]
        source = bench.storage / "steps/teacher" / teacher["hash"] / "model"
        folder = bench.folder / "poisoned"
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        weights = load_file(folder / "model.safetensors")
        words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        weights["bert.embeddings.word_embeddings.weight"][words["once"], 0] = 3e38
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def test_two_at_once_are_refused(bench: Bench) -> None:
    from flexkd_platform.results import JobFolder
    from flexkd_platform.store import open_store

    results = bench.run()
    folder = JobFolder(open_store(str(bench.storage)), results["job"]["id"])
    with folder.locked(print):
        assert (
            main(["run", str(bench.spec), "--address", "none", "--storage", str(bench.storage)])
            == 2
        )


def test_recording_elsewhere_later(bench: Bench) -> None:
    """The store is the truth: another tracking store gets all of it from the same command."""
    bench.run()
    other = f"sqlite:///{bench.folder}/other.db"
    bench.flexkd("run", str(bench.spec), "--address", "none", "--tracking-uri", other)
    client = MlflowClient(other)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 7
    child = next(run for run in runs if "mlflow.parentRunId" in run.data.tags)
    assert len(client.get_metric_history(child.info.run_id, "train/loss")) == 8
