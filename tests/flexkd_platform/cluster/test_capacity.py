"""What fits and what never can, from the nodes there are."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from flexkd_platform.cluster import Capacity, Node, fitting_trials, resource_problems
from flexkd_platform.spec import Resources

LAPTOP = Capacity((Node(2),))
TWO_NODES = Capacity((Node(8, 2), Node(8, 2)))
HEADED = Capacity((Node(0), Node(4), Node(3)))
"""A head that runs nothing, and two workers."""
EMPTY = Capacity((Node(0), Node(0.5)))
"""Nodes whose CPUs Ray was told not to use."""
HALVES = Capacity((Node(2.5, 0.5), Node(1.5)))
MANY = Capacity((Node(2_500_000.5),))
GPU_BOX = Capacity((Node(16), Node(1, 4)))
"""CPUs in one place, GPUs in the other."""


@pytest.mark.parametrize(
    ("capacity", "resources", "expected"),
    [
        (LAPTOP, {}, 2),
        (LAPTOP, {"trial_cpus": 2}, 1),
        (LAPTOP, {"trial_workers": 2}, 1),
        (LAPTOP, {"max_concurrent_trials": 1}, 1),
        (LAPTOP, {"max_concurrent_trials": 9}, 2),
        (TWO_NODES, {}, 16),
        (TWO_NODES, {"trial_cpus": 3}, 4),  # two on each; the sum of CPUs would say five
        (TWO_NODES, {"trial_gpus": 1}, 4),
        (TWO_NODES, {"trial_gpus": 0.5}, 8),
        (TWO_NODES, {"trial_gpus": 0.4}, 8),  # two share a GPU, whose last fifth is left
        (TWO_NODES, {"trial_gpus": 0.1}, 16),  # ten would share one, but there are 16 CPUs
        (TWO_NODES, {"trial_gpus": 2}, 2),
        (TWO_NODES, {"trial_gpus": 1, "trial_workers": 2}, 2),
        (TWO_NODES, {"trial_gpus": 1, "trial_cpus": 8}, 2),
        (TWO_NODES, {"trial_workers": {"min": 3, "max": 9}, "trial_cpus": 2}, 2),
        (TWO_NODES, {"trial_workers": 4, "trial_cpus": 5}, 1),  # too much: `problems` says so
        (HEADED, {}, 7),
        (HEADED, {"trial_cpus": 2}, 3),
        (HEADED, {"trial_cpus": 2, "trial_workers": 3}, 1),
        (HEADED, {"trial_cpus": 4}, 1),
        (GPU_BOX, {"trial_gpus": 1}, 1),  # the GPUs have one CPU beside them
    ],
)
def test_as_many_trials_as_fit(
    capacity: Capacity, resources: dict[str, Any], expected: int
) -> None:
    assert fitting_trials(Resources(**resources), capacity) == expected


def placed(nodes: list[tuple[float, float]], cpus: float, gpus: float) -> int:
    """The most workers that can be placed, by trying every node for each: no formula."""
    best = 0
    for place, (free, whole) in enumerate(nodes):
        if free >= cpus and whole >= gpus:
            left = [*nodes]
            left[place] = (free - cpus, whole - gpus)
            best = max(best, 1 + placed(left, cpus, gpus))
    return best


@pytest.mark.parametrize("nodes", list(itertools.product([0, 1, 3, 4], [2, 5])))
@pytest.mark.parametrize(("cpus", "gpus"), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 2)])
def test_the_count_is_that_of_trying_every_placement(
    nodes: tuple[int, int], cpus: int, gpus: int
) -> None:
    capacity = Capacity(tuple(Node(each, each // 2) for each in nodes))
    there: list[tuple[float, float]] = [(each, each // 2) for each in nodes]
    assert capacity.workers(cpus, gpus) == placed(there, cpus, gpus)


@pytest.mark.parametrize(
    ("capacity", "resources", "paths"),
    [
        (LAPTOP, {}, set()),
        (LAPTOP, {"trial_workers": 2}, set()),
        (LAPTOP, {"trial_workers": {"min": 2, "max": 8}}, set()),
        (LAPTOP, {"trial_workers": {"min": 3, "max": 8}}, {"resources.trial_workers.min"}),
        (LAPTOP, {"trial_workers": 3}, {"resources.trial_workers"}),
        (LAPTOP, {"trial_cpus": 3}, {"resources.trial_cpus"}),
        (LAPTOP, {"trial_gpus": 1}, {"resources.trial_gpus"}),
        (LAPTOP, {"teacher_cpus": 4}, {"resources.teacher_cpus"}),
        (LAPTOP, {"teacher_gpus": 1}, {"resources.teacher_gpus"}),
        (LAPTOP, {"score_workers": 3}, {"resources.score_workers"}),
        (TWO_NODES, {"trial_cpus": 9}, {"resources.trial_cpus"}),  # no node has so many
        (TWO_NODES, {"trial_cpus": 8, "trial_workers": 2}, set()),
        (TWO_NODES, {"trial_cpus": 5, "trial_workers": 3}, {"resources.trial_workers"}),
        (TWO_NODES, {"trial_gpus": 2, "trial_workers": 3}, {"resources.trial_workers"}),
        (TWO_NODES, {"trial_gpus": 1.5}, {"resources.trial_gpus"}),
        (TWO_NODES, {"trial_gpus": 1e-6}, {"resources.trial_gpus"}),
        (TWO_NODES, {"teacher_gpus": 1.5}, {"resources.teacher_gpus"}),
        (TWO_NODES, {"teacher_gpus": 1, "score_workers": 5}, {"resources.score_workers"}),
        (TWO_NODES, {"teacher_gpus": 0.5, "score_workers": 8}, set()),
        (HEADED, {}, set()),
        (HEADED, {"trial_cpus": 4, "trial_workers": 2}, {"resources.trial_workers"}),
        (HEADED, {"trial_cpus": 5}, {"resources.trial_cpus"}),
        (GPU_BOX, {"trial_gpus": 1, "trial_cpus": 2, "teacher_gpus": 0}, {"resources.trial_cpus"}),
        (TWO_NODES, {"trial_gpus": 0.5, "trial_workers": 2}, {"resources.trial_workers"}),
        (
            TWO_NODES,
            {"trial_gpus": 0.5, "trial_workers": {"min": 1, "max": 2}},
            {"resources.trial_workers"},
        ),
        (TWO_NODES, {"trial_gpus": 0.5, "trial_workers": {"min": 1, "max": 1}}, set()),
        (TWO_NODES, {"trial_gpus": 1, "trial_workers": 2}, set()),
        (
            LAPTOP,
            {"trial_cpus": 3, "trial_gpus": 1, "teacher_cpus": 3},
            {"resources.trial_cpus", "resources.trial_gpus", "resources.teacher_cpus"},
        ),
    ],
)
def test_what_can_never_be_placed_is_refused_with_what_to_set(
    capacity: Capacity, resources: dict[str, Any], paths: set[str]
) -> None:
    problems = resource_problems(Resources.model_validate(resources), capacity)
    assert {problem.path for problem in problems} == paths
    for problem in problems:
        assert "requested" in problem.message
        assert problem.remedy.startswith(f"--set {problem.path}=")


@pytest.mark.parametrize(
    ("capacity", "resources"),
    [
        (LAPTOP, {"trial_workers": 3}),
        (LAPTOP, {"trial_cpus": 3}),
        (TWO_NODES, {"trial_gpus": 1.5}),
        (TWO_NODES, {"trial_cpus": 5, "trial_workers": 3}),
        (TWO_NODES, {"teacher_gpus": 2, "score_workers": 5}),
        (TWO_NODES, {"trial_gpus": 0.5, "trial_workers": 2}),
        (HALVES, {"trial_cpus": 3}),
        (HALVES, {"trial_gpus": 1, "teacher_gpus": 0}),
        (Capacity((Node(16), Node(1.5, 4))), {"trial_cpus": 2, "trial_gpus": 1, "teacher_gpus": 0}),
        (MANY, {"trial_cpus": 2_500_001}),
        (GPU_BOX, {"trial_gpus": 1, "trial_cpus": 2, "teacher_gpus": 0}),
    ],
)
def test_the_remedy_is_one(capacity: Capacity, resources: dict[str, Any]) -> None:
    (problem,) = resource_problems(Resources(**resources), capacity)
    path, _, value = problem.remedy.removeprefix("--set resources.").partition("=")
    changed = resources | {path: float(value.split(",")[0])}
    if path != "trial_gpus":
        assert value.split(",")[0].isdecimal(), "as YAML reads a whole number"
        changed[path] = int(changed[path])
    assert resource_problems(Resources(**changed), capacity) == []


def test_where_no_worker_fits_there_is_nothing_to_set() -> None:
    """Neither 0 CPUs nor half of one can be asked for."""
    problems = resource_problems(Resources(), EMPTY)
    assert [(problem.path, problem.remedy) for problem in problems] == [
        ("resources.trial_cpus", "add a node with 1 CPU"),
        ("resources.teacher_cpus", "add a node with 2 CPUs"),
    ]


def test_a_count_no_cluster_has_is_refused_when_it_is_read() -> None:
    """Such a number would not even be a float, which Ray's are."""
    with pytest.raises(ValidationError, match="less than 2147483648"):
        Resources(trial_cpus=10**400)


def test_a_problem_says_where_there_is_room() -> None:
    (problem,) = resource_problems(Resources(trial_workers=4, trial_cpus=2), HEADED)
    assert problem.message == (
        "4 workers of 2 CPUs requested, but only 3 fit on nodes of 0 CPUs, 4 CPUs, 3 CPUs"
    )
