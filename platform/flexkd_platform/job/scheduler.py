"""The scheduler: starts each step and trial when its needs are published and there is room.

This module contains the whole policy. Ready work is claimed by a lease, so that two jobs that share
a step run it once, and is submitted while the executor has room. Shared steps have priority over
trials, since other work waits for them. Score and cache steps of one teacher are submitted as one
pass. Events arrive in one queue and are handled by the thread that called `run`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from ..executors import (
    Advanced,
    Broken,
    Ended,
    Event,
    Executor,
    Handle,
    PassWork,
    Pruned,
    Started,
    StepError,
    StepWork,
    TrialWork,
    Work,
)
from ..plan import RunsOn, Step
from ..steps import passes
from ..store import Holder, Leases, Store
from .graph import Graph, Node
from .repair import Repair

LOOK_SECONDS = 1.0
"""How often a step is checked whose lease another job holds."""

CLAIMERS = 8
"""Threads that acquire leases: on an object store, each takes two seconds."""


class Listener(Protocol):
    """Receives the events of nodes, in the scheduler's thread."""

    def started(self, nodes: Sequence[Node], chunks: int | None) -> None:
        """A worker has started the nodes. chunks: the number of missing chunks of a pass."""

    def advanced(self, nodes: Sequence[Node], event: Advanced) -> None:
        """The nodes have made progress."""

    def waiting(self, node: Node, holder: Holder) -> None:
        """Another job holds the lease of the node's step."""

    def reused(self, node: Node) -> None:
        """The node's artifacts are already in the store."""

    def done(self, node: Node) -> None:
        """The node has run and its artifacts are published."""

    def failed(self, node: Node, failure: StepError) -> None:
        """The node failed, or something that it needs failed."""

    def pruned(self, node: Node, reason: str) -> None:
        """The trial was stopped early."""

    def damaged(self, step: Step, reasons: Sequence[str], place: str) -> None:
        """The step's artifact was damaged and moved to `place` in the storage; it runs again."""


@dataclass(frozen=True)
class _Claimed:
    """The result of a claim: leases that were acquired, or that others hold."""

    nodes: Sequence[Node]
    holders: Sequence[Holder | None]


class Scheduler:
    """Runs one graph, which may grow between two calls of `run`."""

    def __init__(
        self, graph: Graph, executor: Executor, store: Store, leases: Leases, listener: Listener
    ) -> None:
        self._graph, self._executor, self._store = graph, executor, store
        self._leases, self._listener = leases, listener
        self.repair = Repair(graph, store, listener.damaged)
        self._queue: queue.Queue[Event | _Claimed | BaseException] = queue.Queue()
        self._running: dict[Work, Handle | None] = {}
        self._claiming: list[Work] = []
        self._looked: dict[Node, float] = {}
        self._thread = threading.current_thread()

    def run(self) -> None:
        """Run until every node has ended.

        Raises:
            KeyboardInterrupt: interrupted; running work was cancelled.
        """
        self._thread = threading.current_thread()
        claimers = ThreadPoolExecutor(CLAIMERS, "lease")
        try:
            while not self._graph.finished:
                self._look_at_waiting(claimers)
                blocked = self._dispatch(claimers)
                self._handle_next(blocked)
        except BaseException:
            self._cancel()
            raise
        finally:
            claimers.shutdown(wait=False, cancel_futures=True)

    def receive(self, event: Event) -> None:
        """Receive an event of the executor, from any thread."""
        if threading.current_thread() is self._thread:
            self._handle(event)
        else:
            self._queue.put(event)

    # --- from ready nodes to submitted work ----------------------------------------------------

    def _dispatch(self, claimers: ThreadPoolExecutor) -> bool:
        """Claim and submit ready work; returns whether some of it waits for room."""
        submitted = True
        while submitted:  # work that ran in this thread may have made other nodes ready
            submitted = False
            for nodes in self._units():
                work = _work_of(nodes)
                occupied = [*self._running, *self._claiming]
                # On an idle cluster, submit even without room: Ray may be adding nodes.
                if occupied and not self._executor.has_room(work, occupied):
                    return True  # later units have a lower priority
                unclaimed = [node for node in nodes if not node.leased and _needs_lease(node)]
                if unclaimed:
                    self._claim(unclaimed, claimers, work)
                else:
                    self._submit(nodes, work)
                    submitted = True
                    break
        return False

    def _units(self) -> list[list[Node]]:
        """The ready nodes in order of priority; the nodes of one pass are grouped."""
        ready = self._graph.ready()
        by_hash = {node.step.hash: node for node in ready}
        requests = passes([node.step for node in ready if _runs_on(node) == "pass"])
        served = [[by_hash[step.hash] for step in request.steps] for request in requests]
        return [*served, *([node] for node in ready if _runs_on(node) != "pass")]

    def _submit(self, nodes: Sequence[Node], work: Work) -> None:
        published = [node for node in nodes if self._is_published(node)]
        if published:  # another job was faster than our lease
            for node in published:
                self._end_reused(node)
            return
        intact = [self.repair.before_start(node) for node in nodes]
        if not all(intact):
            return  # until the steps that they need have run again
        for node in nodes:
            node.state = "running"
        self._running[work] = None
        handle = self._executor.submit(work, self.receive)
        if work in self._running:
            self._running[work] = handle

    def _is_published(self, node: Node) -> bool:
        return all(self._store.has(step) for step in node.steps)

    # --- leases --------------------------------------------------------------------------------

    def _claim(
        self, nodes: Sequence[Node], claimers: ThreadPoolExecutor, work: Work | None
    ) -> None:
        for node in nodes:
            node.state = "claiming"
        if work is not None:
            self._claiming.append(work)

        def take() -> None:
            try:
                holders = [self._leases.take(_lease_path(node)) for node in nodes]
            except BaseException as error:
                self._queue.put(error)
            else:
                self._queue.put(_Claimed(nodes, holders))

        claimers.submit(take)

    def _claimed(self, claimed: _Claimed) -> None:
        nodes = {node.step.hash for node in claimed.nodes}
        self._claiming = [
            work for work in self._claiming if not nodes & {step.hash for step in work.steps}
        ]
        for node, holder in zip(claimed.nodes, claimed.holders, strict=True):
            node.leased = holder is None
            node.state = "pending" if node.leased else "waiting"
            if holder is None:
                self._looked.pop(node, None)
            else:
                if node not in self._looked:
                    self._listener.waiting(node, holder)
                self._looked[node] = time.monotonic()

    def _look_at_waiting(self, claimers: ThreadPoolExecutor) -> None:
        """Check whether other jobs have published their work, or have died."""
        now = time.monotonic()
        for node in list(self._looked):
            if node.state != "waiting" or now - self._looked[node] < LOOK_SECONDS:
                continue
            if self._is_published(node):
                del self._looked[node]
                self._end_reused(node)
            else:
                self._claim([node], claimers, None)

    def _release(self, node: Node) -> None:
        if node.leased:
            node.leased = False
            self._leases.release(_lease_path(node))

    # --- events --------------------------------------------------------------------------------

    def _handle_next(self, blocked: bool) -> None:
        """Wait for an event. blocked: whether room may become available without an event."""
        if self._graph.finished:
            return
        looking = blocked or any(node.state == "waiting" for node in self._looked)
        try:
            event = self._queue.get(timeout=LOOK_SECONDS if looking else None)
        except queue.Empty:
            return
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, _Claimed):
            self._claimed(event)
        else:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Broken):
            raise event.error
        nodes = [self._graph[step.hash] for step in _node_steps(event.work)]
        if isinstance(event, Started):
            self._listener.started(nodes, event.chunks)
        elif isinstance(event, Advanced):
            self._listener.advanced(nodes, event)
        else:
            self._running.pop(event.work, None)
            for node in nodes:
                self._end(node, event)

    def _end(self, node: Node, event: Ended | Pruned) -> None:
        if isinstance(event, Pruned):
            self._graph.done(node)
            self._listener.pruned(node, event.reason)
        elif event.failure is None:
            self._graph.done(node)
            self._listener.done(node)
        elif self.repair.after_failure(node, event.failure):
            node.state = "pending"
            return
        else:
            self._fail(node, event.failure)
        self._release(node)

    def _end_reused(self, node: Node) -> None:
        self._graph.done(node)
        self._release(node)
        self._listener.reused(node)

    def _fail(self, node: Node, failure: StepError) -> None:
        """Fail the node and its downstream nodes, and nothing else."""
        downstream = self._graph.failed(node, str(failure))
        self._listener.failed(node, failure)
        for each in downstream:
            self._release(each)
            self._listener.failed(each, StepError(each.cause))

    def _cancel(self) -> None:
        for handle in self._running.values():
            if handle is not None:
                handle.cancel()


def _runs_on(node: Node) -> RunsOn:
    """Where the node runs. A separate evaluation is a task; a trial's runs as part of the trial."""
    return "trial" if node.trial is not None else node.step.config.kind.runs_on


def _work_of(nodes: Sequence[Node]) -> Work:
    first = nodes[0]
    if first.trial is not None:
        return TrialWork(first.trial)
    if _runs_on(first) != "pass":
        return StepWork(first.step)
    (request,) = passes([node.step for node in nodes])
    return PassWork(request)


def _node_steps(work: Work) -> Sequence[Step]:
    return work.steps[:1] if isinstance(work, TrialWork) else work.steps


def _needs_lease(node: Node) -> bool:
    """Whether the node needs a lease. A driver step takes less time than acquiring one."""
    return _runs_on(node) != "driver"


def _lease_path(node: Node) -> str:
    return f"leases/{node.step.kind}-{node.step.hash}"
