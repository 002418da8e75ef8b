"""Repair of damaged artifacts: they are set aside, and their steps run again.

An artifact is compared with its manifest before a step that reads it starts. Other processes may
read it elsewhere or later, so that it is compared again when a step has failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..executors import StepError
from ..plan import Step
from ..store import DamagedArtifactError, Store
from .graph import Graph, Node

ATTEMPTS = 3
"""How often a job creates one artifact again: a disk that damages it each time is broken."""

SMALL = 16 * 1024**2
"""Bytes up to which the files of reused artifacts are compared when a job starts."""

Told = Callable[[Step, Sequence[str], str], None]
"""Receives a damaged step, the differences of its files, and where they were moved to."""


class Repair:
    """Finds damaged artifacts of one graph, sets them aside, and reopens their nodes."""

    def __init__(self, graph: Graph, store: Store, told: Told) -> None:
        self._graph, self._store, self._told = graph, store, told
        self._attempts: Counter[str] = Counter()

    def before_reuse(self, steps: Iterable[Step]) -> bool:
        """Whether published artifacts of a node are intact, as far as small files tell."""
        return not self._set_aside(steps, up_to=SMALL)

    def before_start(self, node: Node) -> bool:
        """Whether what the node reads is intact; else it waits for steps that were reopened."""
        needs = {need.hash: need for step in node.steps for need in step.needs.values()}
        # The first step of a trial may be published already: its evaluation reads it.
        return not self._set_aside(needs.values())

    def after_failure(self, node: Node, failure: StepError) -> bool:
        """Whether something that the node read was damaged, so that it runs again.

        Reading a remote artifact takes long: only if the failure names damage.
        """
        upstream = {each.hash: each for step in node.steps for each in step.upstream()}
        remote = DamagedArtifactError.__name__ in failure.detail
        return self._set_aside(upstream.values(), download=remote)

    def _set_aside(
        self, steps: Iterable[Step], *, up_to: int | None = None, download: bool = False
    ) -> bool:
        found = False
        for step in steps:
            reasons = self._store.damage(step.kind, step.hash, up_to=up_to, download=download)
            if not reasons or self._attempts[step.hash] >= ATTEMPTS:
                continue
            self._attempts[step.hash] += 1
            found = True
            self._told(step, reasons, self._store.set_aside(step.kind, step.hash))
            if step.hash in self._graph and self._graph[step.hash].state == "done":
                self._graph.reopen(self._graph[step.hash])
        return found
