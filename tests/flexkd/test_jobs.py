"""Jobs and their results in Python: what they raise, return and load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pandas.testing import assert_frame_equal

import flexkd
from flexkd_platform.model_info.quiet import quiet

from ..flexkd_platform.tiny_jobs import material, spec_json

__all__ = ["material"]

SWEEP = {"methods": [{"kind": "ft"}, {"kind": "flexkd", "alpha": [0.1, 0.5]}], "seeds": [1, 2]}


@pytest.fixture(scope="module")
def spec(material: Path) -> flexkd.JobSpec:
    return flexkd.load_spec({**spec_json(material), "sweep": SWEEP})


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "storage"


@pytest.fixture(scope="module")
def results(spec: flexkd.JobSpec, storage: Path) -> flexkd.Results:
    return flexkd.run(spec, storage=storage, address="none", progress=False)


def test_a_mapping_is_the_same_spec_as_a_file(material: Path, tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(spec_json(material)))
    changed = {"distill.epochs": 3, "student.init": {"kind": "random", "layers": 1}}
    ours = flexkd.load_spec(spec_json(material), changed)
    assert ours == flexkd.load_spec(path, changed)
    assert ours == flexkd.load_spec(
        str(path), ["distill.epochs=3", "student.init={kind: random, layers: 1}"]
    )
    assert ours.distill.epochs == 3


def test_all_problems_of_a_spec_are_raised_at_once() -> None:
    with pytest.raises(flexkd.SpecError) as refused:
        flexkd.load_spec({"name": "Not a name", "sweep": {"methods": [{"kind": "ftt"}]}})
    paths = {problem.path for problem in refused.value.problems}
    assert {"name", "sweep.methods[0]"} <= {path.removesuffix(".kind") for path in paths}
    assert all(problem.line is None for problem in refused.value.problems)


def test_a_wrong_request_raises_before_anything_starts(material: Path, tmp_path: Path) -> None:
    lost = flexkd.load_spec(spec_json(material), {"teacher.model": str(tmp_path / "nothing")})
    file = tmp_path / "file"
    file.write_text("")
    for call in (flexkd.plan, flexkd.run):
        with pytest.raises(flexkd.SpecError) as refused:
            call(lost, storage=file, tracking_uri="ftp://x", address="none")
        paths = {problem.path for problem in refused.value.problems}
        assert {"teacher.model", "--storage", "--tracking-uri"} <= paths
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_plan_says_what_is_there(
    spec: flexkd.JobSpec, results: flexkd.Results, storage: Path, tmp_path: Path
) -> None:
    before = flexkd.plan(spec, storage=tmp_path / "empty", tracking_uri="none")
    after = flexkd.plan(spec, storage=storage, tracking_uri="none")
    assert before.id == after.id == spec.id == results.job_id
    assert not before.dataframe()["present"].any()
    assert after.dataframe()["present"].all()
    assert list(after.dataframe().columns) == ["method", "seed", "present", "alpha"]
    assert {step["kind"] for step in after.steps} >= {"dataset", "teacher", "score", "select"}


def test_results_are_those_of_the_job(results: flexkd.Results, storage: Path) -> None:
    assert results.status == "done"
    assert results.failed == []
    assert Path(results.report).is_file()
    assert results.teacher["parameters"] > 0
    frame = results.dataframe()
    assert frame.groupby("method").size().to_dict() == {"flexkd": 4, "ft": 2}
    assert frame["alpha"].isna().sum() == 2  # ft has none
    assert frame["test/accuracy"].between(0, 1).all()
    means = {(g["method"], g["params"].get("alpha")): g["metrics"] for g in results.groups()}
    own = frame[frame["alpha"] == 0.5]["test/accuracy"].mean()
    assert means["flexkd", 0.5]["test/accuracy"]["mean"] == pytest.approx(own)
    again = flexkd.open_results("tiny", storage=storage)
    assert_frame_equal(again.dataframe(), frame)
    assert repr(again).startswith(f"Results({results.job_id}: done, 6 trials, ")


def test_the_best_is_loaded_with_its_tokenizer(results: flexkd.Results, tmp_path: Path) -> None:
    best = results.best()
    frame = results.dataframe()
    means = frame.groupby(["method", frame["alpha"].fillna(0)])["validation/accuracy"].mean()
    assert best.chosen_by == "validation/accuracy"
    key = (best.trial.method, best.trial.params.get("alpha", 0))
    assert means[key] == means.max()
    assert results.best("ft").trial.method == "ft"
    with quiet():
        model, tokenizer = best.load()
    assert not model.training
    with torch.no_grad():
        logits = model(**tokenizer("a good film", return_tensors="pt")).logits
    assert logits.shape == (1, 2)
    folder = results.student("flexkd,α=0.5,seed=2").export(tmp_path / "student")
    assert (folder / "README.md").is_file()


def test_an_unknown_job_or_student_raises(results: flexkd.Results, storage: Path) -> None:
    with pytest.raises(flexkd.SpecError, match="no job 'other'") as refused:
        flexkd.open_results("other", storage=storage)
    assert results.job_id in refused.value.problems[0].remedy
    with pytest.raises(flexkd.SpecError, match="no trial of method 'kd'"):
        results.best("kd")


def test_trials_of_all_jobs_are_read_from_tracking(results: flexkd.Results, storage: Path) -> None:
    trials = flexkd.read_trials(f"sqlite:///{storage}/mlflow.db", experiments=["tiny"])
    assert {trial.hash for trial in trials} == set(results.dataframe()["hash"])


def test_progress_is_lines_where_there_is_no_terminal(
    spec: flexkd.JobSpec,
    results: flexkd.Results,
    storage: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flexkd.run(spec, storage=storage, tracking_uri="none", address="none")
    printed = capsys.readouterr().out
    assert "sweep: 0 trials to run, 6 reused" in printed
    assert "teacher: reused" in printed
