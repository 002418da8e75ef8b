"""The pods of a job's workers: enough for everything that runs, and none too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.spec import Elastic, Resources
from flexkd_platform.submission.kuberay_workers import WorkerPods, worker_pods

counts = st.integers(1, 9)
shares = st.sampled_from([0.0, 0.25, 0.3333, 0.5, 1.0, 2.0])


@st.composite
def resources(draw: st.DrawFn) -> Resources:
    least = draw(counts)
    elastic = Elastic(min=least, max=least + draw(st.integers(0, 5)))
    return Resources(
        score_workers=draw(counts),
        trial_workers=draw(st.sampled_from([least, elastic])),
        trial_cpus=draw(counts),
        trial_gpus=draw(shares),
        teacher_cpus=draw(counts),
        teacher_gpus=draw(st.one_of(st.none(), shares)),
        max_concurrent_trials=draw(st.one_of(st.just("auto"), counts)),
    )


def placed(pods: WorkerPods, number: int, cpus: float, gpus: float) -> int:
    """How many of equal requests a cluster of `number` pods places, one after the other."""
    here = 0
    free_cpus, free_gpus = float(pods.cpus), float(pods.gpus)
    while free_cpus >= cpus and free_gpus >= gpus - 1e-9:
        here, free_cpus, free_gpus = here + 1, free_cpus - cpus, free_gpus - gpus
    return here * number


@given(resources())
def test_everything_finds_a_place_and_no_pod_is_too_many(asked: Resources) -> None:
    pods = worker_pods(asked)
    assert pods.cpus >= asked.teacher_cpus
    assert pods.gpus >= asked.gpus_of_teacher
    trials = 1 if asked.max_concurrent_trials == "auto" else asked.max_concurrent_trials

    def enough(number: int, workers: int) -> bool:
        training = placed(pods, number, asked.trial_cpus, asked.trial_gpus) >= trials * workers
        scoring = placed(pods, number, 1, asked.gpus_of_teacher) >= asked.score_workers
        return training and scoring

    assert enough(pods.least, asked.least_workers)
    assert not enough(pods.least - 1, asked.least_workers)
    assert enough(pods.most, asked.most_workers)
    assert pods.most == pods.least or not enough(pods.most - 1, asked.most_workers)


@given(resources())
def test_the_number_follows_the_job_only_where_trials_are_elastic(asked: Resources) -> None:
    pods = worker_pods(asked)
    assert pods.least <= pods.most
    if asked.least_workers == asked.most_workers:
        assert not pods.elastic


@pytest.mark.parametrize(
    ("asked", "pods"),
    [
        # The teacher wants two CPUs; both scorers and two one-CPU trials fit there.
        (Resources(), WorkerPods(2, 0, 1, 1)),
        (Resources(max_concurrent_trials=8), WorkerPods(2, 0, 4, 4)),
        (Resources(trial_workers=4, trial_gpus=1, trial_cpus=2), WorkerPods(2, 1, 4, 4)),
        # Four shares of a GPU, each with a CPU of its own.
        (Resources(trial_gpus=0.25, max_concurrent_trials=8), WorkerPods(4, 1, 2, 2)),
        (
            Resources(trial_workers=Elastic(min=2, max=6), trial_cpus=2),
            WorkerPods(2, 0, 2, 6),
        ),
        (Resources(score_workers=10, teacher_cpus=4), WorkerPods(4, 0, 3, 3)),
    ],
)
def test_sizes_that_can_be_checked_by_hand(asked: Resources, pods: WorkerPods) -> None:
    assert worker_pods(asked) == pods
