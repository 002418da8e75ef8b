"""Which nodes are ready, and what a failure takes along."""

from __future__ import annotations

import pytest

from flexkd_platform.job.graph import Graph, step_node, trial_node
from flexkd_platform.plan import Plan

from ..plan.conftest import Planner


def graph_of(plan: Plan, *, barrier: bool = False) -> Graph:
    graph = Graph(barrier=barrier)
    for step in plan.shared:
        graph.add(step_node(step))
    for trial in plan.trials:
        graph.add(trial_node(trial))
    return graph


def names(graph: Graph) -> list[str]:
    """The ready nodes: the kind of a step, the method and seed of a trial."""
    return [
        node.step.kind if node.trial is None else f"{node.trial.method} {node.trial.seed}"
        for node in graph.ready()
    ]


def finish(graph: Graph, *kinds: str) -> None:
    for node in graph.ready():
        if node.trial is None and node.step.kind in kinds:
            graph.done(node)


METHODS = {"sweep.methods": [{"kind": "ft"}, {"kind": "kd"}, {"kind": "flexkd"}]}


def test_a_step_is_ready_when_its_needs_are_published(plan: Planner) -> None:
    graph = graph_of(plan(METHODS))
    assert names(graph) == ["dataset"]
    finish(graph, "dataset")
    assert names(graph) == ["teacher", "ft 10", "ft 20"], "fine-tuning needs no teacher"
    finish(graph, "teacher")
    assert sorted(names(graph)[:3]) == ["cache", "cache", "score"]
    finish(graph, "cache")
    assert names(graph) == ["score", "ft 10", "ft 20", "kd 10", "kd 20"]
    finish(graph, "score")
    finish(graph, "select")
    assert names(graph)[-2:] == ["flexkd 10", "flexkd 20"]


def test_with_a_barrier_trials_wait_for_every_shared_step(plan: Planner) -> None:
    graph = graph_of(plan(METHODS), barrier=True)
    for kind in ("dataset", "teacher", "cache", "score"):
        assert all(" " not in name for name in names(graph))
        finish(graph, kind)
    finish(graph, "select")
    assert len(names(graph)) == 6


def test_warm_ups_of_all_seeds_and_teachers_of_an_axis_are_ready_together(plan: Planner) -> None:
    changes = {**METHODS, "student.warm_up": {"epochs": 1}}
    graph = graph_of(plan({**changes, "sweep.axes": {"teacher.finetune.epochs": [1, 2]}}))
    finish(graph, "dataset")
    assert sorted(names(graph)) == ["teacher", "teacher", "warm_up", "warm_up"]


def test_a_failure_takes_along_what_is_downstream_and_nothing_else(plan: Planner) -> None:
    graph = graph_of(plan(METHODS))
    finish(graph, "dataset")
    finish(graph, "teacher")
    (score,) = (node for node in graph.ready() if node.step.kind == "score")
    lost = graph.failed(score, "out of luck")
    assert [node.step.kind for node in lost] == ["select", "distill", "distill"]
    assert {node.cause for node in lost} == {"the scoring it needs failed: out of luck"}
    assert names(graph) == ["cache", "cache", "ft 10", "ft 20"]
    finish(graph, "cache")
    assert names(graph) == ["ft 10", "ft 20", "kd 10", "kd 20"]


def test_what_fails_with_a_step_names_the_first_cause(plan: Planner) -> None:
    graph = graph_of(plan(METHODS))
    (dataset,) = graph.ready()
    lost = graph.failed(dataset, "no such file")
    assert {node.cause for node in lost} == {"the data set it needs failed: no such file"}
    assert len(lost) == len(list(graph)) - 1
    assert graph.finished


def test_a_trial_that_fails_takes_nothing_along(plan: Planner) -> None:
    graph = graph_of(plan(METHODS))
    finish(graph, "dataset")
    trial = next(node for node in graph.ready() if node.trial is not None)
    assert graph.failed(trial, "NaN") == []
    assert "ft 20" in names(graph)


@pytest.mark.parametrize("twice", ["step", "trial"])
def test_a_node_is_added_once(plan: Planner, twice: str) -> None:
    made = plan(METHODS)
    graph = graph_of(made)
    node = step_node(made.shared[0]) if twice == "step" else trial_node(made.trials[0])
    assert not graph.add(node)
    assert len(list(graph)) == len(made.shared) + len(made.trials)


def test_what_is_added_after_a_failure_fails_with_it(plan: Planner) -> None:
    """The trials of a search's later rounds need what an earlier round may have lost."""
    made = plan(METHODS)
    graph = Graph()
    for step in made.shared:
        graph.add(step_node(step))
    finish(graph, "dataset")
    (teacher,) = (node for node in graph.ready() if node.step.kind == "teacher")
    graph.failed(teacher, "the loss is nan")
    for trial in made.trials:
        graph.add(trial_node(trial))
    lost = graph.fail_lost()
    assert {node.trial.method for node in lost if node.trial} == {"kd", "flexkd"}
    assert all("the loss is nan" in node.cause for node in lost)
    assert graph.fail_lost() == []
    assert names(graph) == ["ft 10", "ft 20"]
