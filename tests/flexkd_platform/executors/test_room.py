"""Whether work fits on nodes beside other work."""

from __future__ import annotations

import pytest

from flexkd_platform.cluster import Capacity, Node
from flexkd_platform.executors.room import Demand, fits

ONE = Demand(1, 1, 0)


def capacity(*nodes: tuple[float, float]) -> Capacity:
    return Capacity(tuple(Node(cpus, gpus) for cpus, gpus in nodes))


@pytest.mark.parametrize(
    ("running", "new", "fit"),
    [
        ([], Demand(1, 2, 0), True),
        ([], Demand(1, 3, 0), False),
        ([ONE], Demand(1, 2, 0), True),
        ([ONE, ONE, ONE], Demand(1, 2, 0), False),
        ([ONE, ONE], Demand(2, 1, 0), True),
        ([ONE, ONE, ONE], Demand(2, 1, 0), False),
        ([ONE] * 4, ONE, False),
        ([ONE] * 4, Demand(0, 2, 0), True),
        ([ONE] * 3, Demand(4, 1, 0, flexible=True), True),
        ([ONE] * 4, Demand(4, 1, 0, flexible=True), False),
        ([Demand(9, 1, 0, flexible=True)], ONE, False),
    ],
)
def test_cpus_of_two_nodes_of_two(running: list[Demand], new: Demand, fit: bool) -> None:
    assert fits(new, running, capacity((2, 0), (2, 0))) is fit


@pytest.mark.parametrize(
    ("running", "new", "fit"),
    [
        ([], Demand(1, 1, 2), True),
        ([], Demand(1, 1, 3), False),
        ([Demand(1, 1, 0.5)], Demand(1, 1, 2), False),
        ([Demand(1, 1, 0.5)], Demand(1, 1, 1), True),
        ([Demand(3, 1, 0.5)], Demand(1, 1, 0.5), True),
        ([Demand(4, 1, 0.5)], Demand(1, 1, 0.5), False),
        ([Demand(19, 0.1, 0.1)], Demand(1, 0.1, 0.1), True),
        ([Demand(20, 0.1, 0.1)], Demand(1, 0.1, 0.1), False),
        ([Demand(2, 1, 0.6)], Demand(1, 1, 0.6), False),
        ([], Demand(2, 1, 0.6), True),
    ],
)
def test_gpus_of_a_node_of_two(running: list[Demand], new: Demand, fit: bool) -> None:
    """No worker that takes a part of a GPU is spread over two."""
    assert fits(new, running, capacity((8, 2))) is fit


def test_what_runs_beyond_the_nodes_takes_no_room_twice() -> None:
    """A node that has left the cluster: what ran there has no place, and the others keep theirs."""
    running = [Demand(1, 4, 0), ONE]
    assert fits(ONE, running, capacity((2, 0)))
    assert not fits(Demand(1, 2, 0), running, capacity((2, 0)))
