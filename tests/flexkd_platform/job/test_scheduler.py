"""The scheduler with an executor that does nothing, whose work ends when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cluster import Capacity, Node
from flexkd_platform.executors import (
    Advanced,
    Ended,
    Executor,
    OnEvent,
    PassWork,
    Pruned,
    Started,
    StepError,
    TrialWork,
    Work,
)
from flexkd_platform.job import graph as graphs
from flexkd_platform.job import scheduler as schedulers
from flexkd_platform.job.graph import Graph, step_node, trial_node
from flexkd_platform.job.scheduler import Scheduler
from flexkd_platform.plan import Plan, Step
from flexkd_platform.spec import Resources
from flexkd_platform.store import Holder, Store, open_store

from ..plan.conftest import Planner

METHODS = {"sweep.methods": [{"kind": "ft"}, {"kind": "kd"}, {"kind": "flexkd"}]}
OTHER = Holder("ada", "elsewhere", 7, "another-job")


def name_of(work: Work) -> str:
    if isinstance(work, TrialWork):
        return f"{work.trial.method} {work.trial.seed}"
    return "+".join(sorted(step.kind for step in work.steps))


class Handle:
    def __init__(self, cancelled: list[str], name: str) -> None:
        self._cancelled, self._name = cancelled, name

    def cancel(self) -> None:
        self._cancelled.append(self._name)


class Paper(Executor):
    """Keeps what is submitted; `policy` says which work ends next, from another thread.

    slots: work that runs at a time.
    """

    name = "paper"

    def __init__(self, store: Store, slots: int = 99) -> None:
        super().__init__(store, Resources())
        self.slots = slots
        self.order: list[str] = []
        self.most = 0
        self.running: dict[str, tuple[Work, OnEvent]] = {}
        self.cancelled: list[str] = []
        self.fail: dict[str, str] = {}
        self.prune: set[str] = set()
        self.hold: set[str] = set()

    def capacity(self) -> Capacity:
        return Capacity((Node(4.0),))

    def has_room(self, work: Work, running: Collection[Work]) -> bool:
        return len(running) < self.slots

    def submit(self, work: Work, on_event: OnEvent) -> Handle:
        name = name_of(work)
        self.order.append(name)
        self.running[name] = (work, on_event)
        self.most = max(self.most, len(self.running))
        on_event(Started(work))
        if name not in self.hold:
            threading.Thread(target=self.end, args=(name,)).start()
        return Handle(self.cancelled, name)

    def end(self, name: str) -> None:
        work, on_event = self.running.pop(name)
        if name in self.fail:
            on_event(Ended(work, StepError(self.fail[name])))
        elif name in self.prune:
            assert isinstance(work, TrialWork)
            on_event(Pruned(work, "too slow"))
        else:
            for step in work.steps:
                publish(self.store, step)
            on_event(Ended(work))

    def open_sweep(self, *arguments: Any) -> None: ...

    def close_sweep(self) -> None: ...

    def close(self) -> None: ...


def publish(store: Store, step: Step) -> None:
    with store.publish(step) as draft:
        (draft.folder / "content").write_text(step.hash)


@dataclass
class Log:
    """What the scheduler tells its listener, a line each."""

    lines: list[str] = field(default_factory=list)
    react: Callable[[str], None] = lambda line: None

    def _add(self, event: str, node: graphs.Node, more: str = "") -> None:
        trial = node.trial
        name = node.step.kind if trial is None else f"{trial.method} {trial.seed}"
        self.lines.append(f"{event} {name}{more}")
        self.react(self.lines[-1])

    def damaged(self, step: Step, reasons: Sequence[str], place: str) -> None:
        self.lines.append(f"damaged {step.kind}")

    def started(self, nodes: Sequence[graphs.Node], chunks: int | None) -> None:
        for node in nodes:
            self._add("started", node)

    def advanced(self, nodes: Sequence[graphs.Node], event: Advanced) -> None: ...

    def waiting(self, node: graphs.Node, holder: Holder) -> None:
        self._add("waiting", node, f" for {holder.user}")

    def reused(self, node: graphs.Node) -> None:
        self._add("reused", node)

    def done(self, node: graphs.Node) -> None:
        self._add("done", node)

    def failed(self, node: graphs.Node, failure: StepError) -> None:
        self._add("failed", node, f": {failure}")

    def pruned(self, node: graphs.Node, reason: str) -> None:
        self._add("pruned", node)


class PaperLeases:
    """Leases of this process, and of another one that holds some."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.others: dict[str, Holder] = {}
        self.taken: list[str] = []

    def take(self, path: str) -> Holder | None:
        if path in self.others:
            return self.others[path]
        assert path not in self.held, "taken twice"
        self.held.add(path)
        self.taken.append(path)
        return None

    def release(self, path: str) -> None:
        self.held.remove(path)


@dataclass
class World:
    plan: Plan
    store: Store
    executor: Paper
    leases: PaperLeases = field(default_factory=PaperLeases)
    log: Log = field(default_factory=Log)

    def run(self, *, barrier: bool = False) -> list[str]:
        graph = Graph(barrier=barrier)
        for step in self.plan.shared:
            graph.add(step_node(step))
        for trial in self.plan.trials:
            graph.add(trial_node(trial))
        leases: Any = self.leases
        Scheduler(graph, self.executor, self.store, leases, self.log).run()
        assert self.leases.held == set(), "every lease is released"
        return self.log.lines


@pytest.fixture
def world(plan: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    """`world(changes, slots)`: a plan and an executor with so many slots."""
    monkeypatch.setattr(schedulers, "LOOK_SECONDS", 0.02)

    def make(changes: dict[str, Any] | None = None, slots: int = 99) -> World:
        store = open_store(str(tmp_path / "storage"))
        return World(plan({**METHODS, **(changes or {})}), store, Paper(store, slots))

    return make


def test_score_and_caches_of_a_teacher_are_one_pass(world: Callable[..., World]) -> None:
    made = world()
    made.run()
    assert made.executor.order.count("cache+cache+score") == 1
    assert not {"score", "cache"} & set(made.executor.order)


def test_shared_steps_go_before_trials_where_there_is_room_for_one(
    world: Callable[..., World],
) -> None:
    made = world(slots=1)
    made.run()
    shared = ["dataset", "teacher", "cache+cache+score", "select"]
    assert made.executor.order[:4] == shared
    assert made.executor.most == 1


def test_trials_that_need_no_teacher_run_beside_it(world: Callable[..., World]) -> None:
    made = world()
    made.executor.hold = {"teacher"}
    seen: list[str] = []

    def react(line: str) -> None:
        seen.append(line)
        if seen.count("done ft 10") + seen.count("done ft 20") == 2 and made.executor.hold:
            made.executor.hold = set()
            made.executor.end("teacher")

    made.log.react = react
    lines = made.run()
    assert lines.index("done ft 20") < lines.index("done teacher")


def test_independent_steps_run_side_by_side(world: Callable[..., World]) -> None:
    """Two teachers and two warm-ups: each is held until all four have started."""
    axes = {"teacher.finetune.epochs": [1, 2]}
    made = world({"student.warm_up": {"epochs": 1}, "sweep.axes": axes})
    started: list[str] = []
    together = {"started teacher": 2, "started warm_up": 2}

    class Held(Paper):
        def submit(self, work: Work, on_event: OnEvent) -> Handle:
            if work.steps[0].kind not in {"teacher", "warm_up"}:
                return super().submit(work, on_event)
            waiting.append((work, on_event))
            on_event(Started(work))
            if len(waiting) == 4:
                for each, tell in waiting:
                    for step in each.steps:
                        publish(self.store, step)
                    tell(Ended(each))
            return Handle(self.cancelled, name_of(work))

    waiting: list[tuple[Work, OnEvent]] = []
    made.executor = Held(made.store)
    made.log.react = started.append
    made.run()
    first_end = min(started.index("done teacher"), started.index("done warm_up"))
    assert {line: started[:first_end].count(line) for line in together} == together


def test_a_failed_step_takes_along_only_what_is_downstream(world: Callable[..., World]) -> None:
    made = world()
    made.executor.fail = {"select": "no units"}
    lines = made.run()
    assert [line for line in lines if line.startswith("failed")] == [
        "failed select: no units",
        "failed flexkd 10: the selection it needs failed: no units",
        "failed flexkd 20: the selection it needs failed: no units",
    ]
    assert {"done ft 10", "done kd 20"} <= set(lines)


def test_a_failed_trial_and_a_pruned_one_leave_the_others_alone(
    world: Callable[..., World],
) -> None:
    made = world()
    made.executor.fail, made.executor.prune = {"kd 10": "NaN"}, {"ft 20"}
    lines = made.run()
    assert {"failed kd 10: NaN", "pruned ft 20", "done kd 20", "done flexkd 10"} <= set(lines)


def test_early_stopping_waits_for_every_shared_step(world: Callable[..., World]) -> None:
    made = world()
    made.run(barrier=True)
    trials = [name for name in made.executor.order if " " in name]
    assert made.executor.order[-6:] == trials


def test_a_step_of_another_job_is_waited_for_and_reused(world: Callable[..., World]) -> None:
    made = world()
    (teacher,) = made.plan.teachers
    path = f"leases/teacher-{teacher.hash}"
    made.leases.others[path] = OTHER

    def react(line: str) -> None:
        if line == "done ft 20":  # long after our first look
            publish(made.store, teacher)
            del made.leases.others[path]

    made.log.react = react
    lines = made.run()
    assert lines.count("waiting teacher for ada") == 1
    assert "reused teacher" in lines
    assert "teacher" not in made.executor.order
    assert "done kd 10" in lines


def test_a_step_whose_holder_is_gone_is_taken_over(world: Callable[..., World]) -> None:
    made = world()
    (teacher,) = made.plan.teachers
    made.leases.others[f"leases/teacher-{teacher.hash}"] = OTHER
    made.log.react = lambda line: made.leases.others.clear() if line == "done ft 20" else None
    lines = made.run()
    assert lines.count("waiting teacher for ada") == 1
    assert "done teacher" in lines


def test_a_pass_is_made_of_the_steps_that_no_other_job_works_on(
    world: Callable[..., World],
) -> None:
    made = world()
    (score,) = (step for step in made.plan.shared if step.kind == "score")
    made.leases.others[f"leases/score-{score.hash}"] = OTHER
    made.log.react = lambda line: made.leases.others.clear() if line == "done kd 20" else None
    made.run()
    assert made.executor.order.count("cache+cache") == 1
    assert made.executor.order.count("score") == 1


def test_driver_steps_need_no_lease(world: Callable[..., World]) -> None:
    made = world()
    made.run()
    kinds = {path.removeprefix("leases/").rpartition("-")[0] for path in made.leases.taken}
    assert kinds == {"teacher", "score", "cache", "distill"}


def test_an_interruption_cancels_what_runs(world: Callable[..., World]) -> None:
    made = world()
    made.executor.hold = {"teacher", "ft 10", "ft 20"}

    def react(line: str) -> None:
        if line == "started ft 20":
            raise KeyboardInterrupt

    made.log.react = react
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert {"teacher", "ft 10"} <= set(made.executor.cancelled)


def test_work_that_fits_nowhere_is_submitted_to_an_idle_cluster(
    world: Callable[..., World],
) -> None:
    """Nodes may be on their way: Ray is asked for them by what waits."""
    made = world(slots=0)
    made.run()
    assert made.executor.most == 1
    assert isinstance(made.log.lines, list)
    assert made.log.lines[-1].startswith("done ")


def test_a_pass_reports_its_steps_in_the_order_of_the_pass(world: Callable[..., World]) -> None:
    made = world()
    works: list[PassWork] = []
    submit = made.executor.submit

    def keep(work: Work, on_event: OnEvent) -> Handle:
        works.extend([work] if isinstance(work, PassWork) else [])
        return submit(work, on_event)

    made.executor.submit = keep  # type: ignore[method-assign]
    lines = made.run()
    (work,) = works
    kinds = [step.kind for step in work.steps]
    done = [line.removeprefix("done ") for line in lines if line in {"done score", "done cache"}]
    assert done == kinds
