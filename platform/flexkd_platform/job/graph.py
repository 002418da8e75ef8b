"""The graph of a job: which steps and trials are ready, and which fail when one fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..plan import Step, Trial

State = Literal["pending", "claiming", "waiting", "running", "done", "failed"]
"""pending: not started. claiming: its lease is being acquired. waiting: another job holds it."""


@dataclass(eq=False)
class Node:
    """A shared step, or a trial: a training with its evaluation.

    needs: hashes of the steps that must be published before it starts.
    leased: whether this process holds its lease.
    cause: the failure reason that downstream nodes report.
    """

    steps: tuple[Step, ...]
    trial: Trial | None
    needs: frozenset[str]
    state: State = "pending"
    leased: bool = False
    cause: str = ""

    @property
    def step(self) -> Step:
        """The shared step, or the training of the trial."""
        return self.steps[0]

    @property
    def ended(self) -> bool:
        """Whether the node is done or has failed."""
        return self.state in {"done", "failed"}


def step_node(step: Step) -> Node:
    """The node of a shared step."""
    return Node((step,), None, frozenset(needed.hash for needed in step.needs.values()))


def trial_node(trial: Trial) -> Node:
    """The node of a trial. Its needs include its evaluation's: otherwise it might train in vain."""
    upstream = {step.hash for step in trial.evaluate.upstream()} - {trial.hash}
    return Node((trial.distill, trial.evaluate), trial, frozenset(upstream))


class Graph:
    """Nodes by hash. Steps are added after the steps that they need.

    barrier: whether trials start only when every shared step has ended. Early stopping requires it,
        since it compares concurrent trials.
    """

    def __init__(self, *, barrier: bool = False) -> None:
        self._barrier = barrier
        self._nodes: dict[str, Node] = {}

    def add(self, node: Node) -> bool:
        """Add a node; False if it already exists."""
        if node.step.hash in self._nodes:
            return False
        self._nodes[node.step.hash] = node
        return True

    def __getitem__(self, digest: str) -> Node:
        return self._nodes[digest]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    @property
    def finished(self) -> bool:
        """Whether every node has ended."""
        return all(node.ended for node in self)

    def ready(self) -> list[Node]:
        """The pending nodes whose needs are published: shared steps first, then trials."""
        steps = [node for node in self if node.trial is None]
        found = [node for node in steps if self._is_ready(node)]
        if self._barrier and not all(node.ended for node in steps):
            return found
        return [*found, *(n for n in self if n.trial is not None and self._is_ready(n))]

    def done(self, node: Node) -> None:
        """Mark a node as done: its artifacts are published, or it was pruned."""
        node.state = "done"

    def reopen(self, node: Node) -> None:
        """Mark an ended node as pending: its artifacts are damaged, or those that it read were."""
        node.state, node.leased = "pending", False

    def __contains__(self, digest: str) -> bool:
        return digest in self._nodes

    def failed(self, node: Node, reason: str) -> list[Node]:
        """Mark a node as failed; returns the downstream nodes, which fail with it."""
        node.state = "failed"
        if node.trial is not None:
            return []
        node.cause = f"the {node.step.config.kind.label} it needs failed: {reason}"
        return self._fail_downstream(node)

    def fail_lost(self) -> list[Node]:
        """Mark nodes as failed that were added after something that they need had failed."""
        found = []
        for node in self:  # in topological order
            causes = [n.cause for n in self if n.state == "failed" and n.step.hash in node.needs]
            if not node.ended and causes:
                node.state, node.cause = "failed", causes[0]
                found.append(node)
        return found

    def _fail_downstream(self, root: Node) -> list[Node]:
        lost, found = {root.step.hash}, []
        for node in self:  # in topological order
            if not node.ended and node.needs & lost:
                node.state, node.cause = "failed", root.cause
                lost.add(node.step.hash)
                found.append(node)
        return found

    def _is_ready(self, node: Node) -> bool:
        return node.state == "pending" and all(
            needed not in self._nodes or self._nodes[needed].state == "done"
            for needed in node.needs
        )
