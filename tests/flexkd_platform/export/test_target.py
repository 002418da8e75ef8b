"""Which student a target means, and what is said where it means none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flexkd_platform.export import Target, find_student, parse_target
from flexkd_platform.export.choosing import best_trial
from flexkd_platform.export.target import argument_of
from flexkd_platform.spec import SpecError
from flexkd_platform.tracking import TrialRecord

from .conftest import Job


def trial(method: str, seed: int, validation: float, **params: object) -> TrialRecord:
    metrics = {"validation/accuracy": validation, "test/accuracy": 1 - validation}
    return TrialRecord(
        f"{method}{params}{seed}", method, params, params, seed, "done", metrics, 1.0
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("reviews", Target("reviews")),
        ("reviews:best", Target("reviews")),
        ("reviews:", Target("reviews")),
        ("reviews:flexkd", Target("reviews", False, "flexkd")),
        ("reviews:flexkd,best", Target("reviews", True, "flexkd")),
        ("reviews:flexkd, α=0.5, seed=10", Target("reviews", False, "flexkd", 10, {"α": "0.5"})),
        ("reviews:method=kd", Target("reviews", False, "kd")),
        (
            "reviews:flexkd,layers=[[1, 2], [2, 3]],seed=1",
            Target("reviews", False, "flexkd", 1, {"layers": "[[1, 2], [2, 3]]"}),
        ),
    ],
)
def test_a_target_is_read(text: str, meant: Target) -> None:
    assert parse_target(text) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (":best", ["names no job"]),
        ("reviews:flexkd,kd", ["two values of method: flexkd and kd"]),
        ("reviews:α=", ["without a name or value: α="]),
        ("reviews:seed=x,=3", ["without a name or value: =3", "the seed 'x'"]),
    ],
)
def test_a_malformed_target_is_refused_with_all_problems(text: str, told: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        parse_target(text)
    problems = refused.value.problems
    assert len(problems) == len(told)
    for problem, part in zip(problems, told, strict=True):
        assert problem.path == "JOB"
        assert part in problem.message
        assert "JOB:METHOD" in problem.remedy


@pytest.mark.parametrize("given", ["α=0.5", "alpha=.5", "alpha=5e-1", "distill.lr=0.01", "lr=1e-2"])
def test_a_setting_is_named_by_path_end_or_symbol(given: str) -> None:
    one = trial("flexkd", 10, 0.5, alpha=0.5, **{"distill.lr": 0.01})
    assert parse_target(f"reviews:flexkd,{given}").matches(one)
    assert not parse_target(f"reviews:flexkd,{given}1").matches(one)


@pytest.mark.parametrize(
    "value", [True, None, 3, 0.1, 1 / 3, "cka", [[1, 2], [2, 3]], {"a": 1}, "a=b"]
)
def test_what_a_message_prints_is_a_target(value: object) -> None:
    one = trial("flexkd", 10, 0.5, setting=value)
    assert parse_target(f"reviews:{argument_of(one)}").matches(one)


def test_the_best_is_that_of_the_best_setting_on_validation() -> None:
    """One lucky seed does not win, and the test split, best for the worst here, decides nothing."""
    lucky = [trial("kd", 10, 0.95), trial("kd", 20, 0.1)]
    steady = [trial("flexkd", 10, 0.7), trial("flexkd", 20, 0.8)]
    assert best_trial([*lucky, *steady], "validation/accuracy") == steady[1]
    assert best_trial([*lucky, *steady], "validation/loss") is None


def test_a_setting_with_a_failed_seed_comes_last() -> None:
    half = [trial("kd", 10, 0.9), replace(trial("kd", 20, 0.0), status="failed", metrics={})]
    whole = [trial("flexkd", 10, 0.5), trial("flexkd", 20, 0.6)]
    assert best_trial([*half, *whole], "validation/accuracy") == whole[1]
    assert best_trial(half, "validation/accuracy") == half[0]


def test_of_equal_seeds_the_lower_is_taken() -> None:
    equal = [trial("kd", 20, 0.5), trial("kd", 10, 0.5)]
    assert best_trial(equal, "validation/accuracy") == equal[1]


def test_a_student_is_found_by_its_settings(classified: Job) -> None:
    student = find_student(classified.files(), parse_target("tiny:flexkd,α=0.5,seed=20"))
    assert (student.trial.params, student.trial.seed) == ({"alpha": 0.5}, 20)
    assert student.chosen_by is None
    assert (student.folder() / "model.safetensors").is_file()


def test_the_best_names_what_chose_it(classified: Job) -> None:
    student = find_student(classified.files(), parse_target("tiny"))
    assert (student.chosen_by, student.candidates) == ("validation/accuracy", 6)
    of_method = find_student(classified.files(), parse_target("tiny:flexkd,best"))
    assert (of_method.trial.method, of_method.candidates) == ("flexkd", 4)


@pytest.mark.parametrize(
    ("target", "message", "remedy"),
    [
        ("tiny:flexkd", "4 trials match", "flexkd,alpha=0.1,seed=20"),
        ("tiny:flexkdd", "no trial of method 'flexkdd'", "did you mean flexkd?"),
        ("tiny:flexkd,alfa=0.5,seed=10", "no setting 'alfa'", "did you mean alpha?"),
        ("tiny:flexkd,alpha=0.7", "no trial of this job has these settings", "ft,seed=10"),
        ("tiny:ft,seed=30", "no trial of this job has these settings", "ft,seed=20"),
    ],
)
def test_what_means_no_student_lists_those_there_are(
    classified: Job, target: str, message: str, remedy: str
) -> None:
    with pytest.raises(SpecError) as refused:
        find_student(classified.files(), parse_target(target))
    (problem,) = refused.value.problems
    assert message in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("status", "told"), [("failed", "failed: the loss is nan"), ("pruned", "was stopped early")]
)
def test_a_trial_without_a_student_is_refused(classified: Job, status: str, told: str) -> None:
    files = classified.files()
    (lost,) = (t for t in files.results["trials"] if t["method"] == "ft" and t["seed"] == 20)
    lost |= {"status": status, "reason": "the loss is nan"}
    with pytest.raises(SpecError, match=told) as refused:
        find_student(files, parse_target("tiny:ft,seed=20"))
    assert "ft,seed=10" in refused.value.problems[0].remedy


def test_a_job_without_a_finished_trial_has_no_best(classified: Job) -> None:
    files = classified.files()
    for entry in files.results["trials"]:
        entry |= {"status": "failed", "reason": "out of memory", "metrics": {}}
    with pytest.raises(SpecError, match="no trial has finished") as refused:
        find_student(files, parse_target("tiny"))
    assert "(failed: out of memory)" in refused.value.problems[0].remedy


def test_a_student_that_is_gone_says_how_to_get_it_back(
    classified: Job,
) -> None:
    student = find_student(classified.files(), parse_target("tiny"))
    gone = replace(student, trial=replace(student.trial, hash="0" * 64))
    with pytest.raises(SpecError, match="no distill 000000000000") as refused:
        gone.folder()
    assert "run the job again" in refused.value.problems[0].remedy
