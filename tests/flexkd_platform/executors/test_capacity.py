"""What fits and what never can, from what there is."""

from __future__ import annotations

from typing import Any

import pytest

from flexkd_platform.executors import Capacity, fitting_trials, resource_problems
from flexkd_platform.spec import Resources

LAPTOP = Capacity(node_cpus=2, node_gpus=0, cpus=2, gpus=0)
TWO_NODES = Capacity(node_cpus=8, node_gpus=2, cpus=16, gpus=4)


@pytest.mark.parametrize(
    ("capacity", "resources", "expected"),
    [
        (LAPTOP, {}, 2),
        (LAPTOP, {"trial_cpus": 2}, 1),
        (LAPTOP, {"trial_workers": 2}, 1),
        (LAPTOP, {"max_concurrent_trials": 1}, 1),
        (LAPTOP, {"max_concurrent_trials": 9}, 2),
        (TWO_NODES, {}, 16),
        (TWO_NODES, {"trial_cpus": 3}, 5),
        (TWO_NODES, {"trial_gpus": 1}, 4),
        (TWO_NODES, {"trial_gpus": 0.5}, 8),
        (TWO_NODES, {"trial_gpus": 1, "trial_workers": 2}, 2),
        (TWO_NODES, {"trial_gpus": 1, "trial_cpus": 8}, 2),
        (TWO_NODES, {"trial_workers": 4, "trial_cpus": 5}, 1),  # too much: `problems` says so
    ],
)
def test_as_many_trials_as_fit(
    capacity: Capacity, resources: dict[str, Any], expected: int
) -> None:
    assert fitting_trials(Resources(**resources), capacity) == expected


@pytest.mark.parametrize(
    ("capacity", "resources", "paths"),
    [
        (LAPTOP, {}, set()),
        (LAPTOP, {"trial_workers": 2}, set()),
        (LAPTOP, {"trial_workers": 3}, {"resources.trial_workers"}),
        (LAPTOP, {"trial_cpus": 3}, {"resources.trial_cpus"}),
        (LAPTOP, {"trial_gpus": 1}, {"resources.trial_gpus"}),
        (LAPTOP, {"teacher_cpus": 4}, {"resources.teacher_cpus"}),
        (TWO_NODES, {"trial_cpus": 9}, {"resources.trial_cpus"}),  # no node has so many
        (TWO_NODES, {"trial_cpus": 8, "trial_workers": 2}, set()),
        (TWO_NODES, {"trial_gpus": 2, "trial_workers": 3}, {"resources.trial_workers"}),
        (
            LAPTOP,
            {"trial_cpus": 3, "trial_gpus": 1, "teacher_cpus": 3},
            {"resources.trial_cpus", "resources.trial_gpus", "resources.teacher_cpus"},
        ),
    ],
)
def test_what_can_never_be_placed_is_refused(
    capacity: Capacity, resources: dict[str, Any], paths: set[str]
) -> None:
    problems = resource_problems(Resources(**resources), capacity)
    assert {problem.path for problem in problems} == paths
    for problem in problems:
        assert "asked for, but there are" in problem.message or "but there are" in problem.message
        assert problem.remedy


def test_two_halves_of_the_machine_do_not_make_three_workers() -> None:
    (problem,) = resource_problems(Resources(trial_workers=3, trial_cpus=1), LAPTOP)
    assert problem.message == "3 workers with 1 CPUs each need 3, but there are 2 CPUs in all"
