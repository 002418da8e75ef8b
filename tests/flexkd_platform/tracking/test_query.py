"""What anybody recorded is read back, each trial once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.tracking import (
    JobRecord,
    MlflowTracker,
    TrialRecord,
    check_experiment,
    read_trials,
    server_runs,
)
from flexkd_platform.tracking.connection import connect

MakeTrial = Callable[..., TrialRecord]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"query {request.node.name}"


def record(uri: str, experiment: str, *trials: TrialRecord) -> None:
    tracker = MlflowTracker(uri, experiment)
    for trial in trials:
        tracker.finish_trial(trial, student=None, rows=[])


def test_trials_come_back_as_they_were(uri: str, name: str, make_trial: MakeTrial) -> None:
    settings = {"a": "0.5", "b": 0.5, "c": None, "d": [1, 2], "e": "", "f": True, "g": 1e-5}
    trial = make_trial(settings=settings, params={"alpha": 0.5, "g": 1e-5})
    record(uri, name, trial)
    (read,) = read_trials(uri, experiments=[name])
    assert replace(read, run_id="") == trial
    assert read.group == trial.group


def test_failures_come_back_with_their_reason(uri: str, name: str, make_trial: MakeTrial) -> None:
    record(uri, name, make_trial(status="failed", reason="out of memory", metrics={}))
    (read,) = read_trials(uri, experiments=[name])
    assert (read.status, read.reason, read.metrics) == ("failed", "out of memory", {})


def test_a_trial_in_two_experiments_is_read_once_and_done_is_preferred(
    uri: str, name: str, make_trial: MakeTrial
) -> None:
    record(uri, f"{name} 1", make_trial(user="ada"))
    record(uri, f"{name} 2", make_trial(user="bob", status="failed", reason="lost"))
    both = [f"{name} 1", f"{name} 2"]
    (read,) = read_trials(uri, experiments=both)
    assert (read.status, read.user) == ("done", "ada")
    record(uri, f"{name} 3", make_trial(user="eve"))
    (read,) = read_trials(uri, experiments=[*both, f"{name} 3"])
    assert read.user == "eve"  # the newest of those that are done


def test_by_job_and_by_user(uri: str, name: str, job: JobRecord, make_trial: MakeTrial) -> None:
    tracker = MlflowTracker(uri, name)
    tracker.start_job(job)
    for trial in (
        make_trial(hash="a" * 64, user="ada"),
        make_trial(hash="b" * 64, user="o'hara"),
        make_trial(hash="c" * 64, job="3" * 64, user="ada"),
    ):
        tracker.finish_trial(trial, student=None, rows=[])

    def hashes(**wanted: Any) -> list[str]:
        return [t.hash[0] for t in read_trials(uri, experiments=[name], **wanted)]

    assert hashes() == ["a", "b", "c"]
    assert hashes(job=job.hash) == hashes(job=job.id) == ["a", "b"]
    assert hashes(user="o'hara") == ["b"]
    assert hashes(user="nobody") == []
    with pytest.raises(ValueError, match=rf"no job 'lost-1'; existing: {job.id}"):
        hashes(job="lost-1")
    assert hashes(user="a'b\"c") == []


def test_pages_are_joined(
    uri: str, name: str, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_runs, "PAGE", 2)
    record(uri, name, *(make_trial(hash=str(seed) * 64, seed=seed) for seed in range(5)))
    assert [t.seed for t in read_trials(uri, experiments=[name])] == [0, 1, 2, 3, 4]
    assert len(read_trials(uri, experiments=None)) >= 5


def test_other_peoples_runs_are_passed_over(uri: str, name: str, make_trial: MakeTrial) -> None:
    record(uri, name, make_trial())
    client = connect(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    client.create_run(experiment.experiment_id)
    MlflowTracker(uri, name).start_trial(make_trial(hash="b" * 64))  # still running
    assert len(read_trials(uri, experiments=[name])) == 1


def test_an_unknown_experiment_is_answered_with_those_there_are(
    uri: str, name: str, make_trial: MakeTrial
) -> None:
    record(uri, name, make_trial())
    with pytest.raises(ValueError, match="no experiment 'typo'; existing:") as error:
        read_trials(uri, experiments=[name, "typo"])
    assert name in str(error.value)


def test_a_deleted_experiment_is_named(uri: str, name: str, make_trial: MakeTrial) -> None:
    record(uri, name, make_trial())
    client = connect(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    assert check_experiment(uri, name) == []
    client.delete_experiment(experiment.experiment_id)
    (problem,) = check_experiment(uri, name)
    assert problem.path == "tracking.experiment"
    assert f"the experiment {name!r} was deleted" in problem.message
    assert f"restore -x {experiment.experiment_id}" in problem.remedy
    with pytest.raises(ValueError, match="was deleted; restore it"):
        record(uri, name, make_trial())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["none", "sqlite:///lost.db"])
def test_nothing_recorded_is_said_and_nothing_created(uri: str, elsewhere: Path) -> None:
    with pytest.raises(ValueError, match="nothing is recorded in"):
        read_trials(uri, experiments=None)
