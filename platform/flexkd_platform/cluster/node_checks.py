"""Check that every node of a cluster can run our code and use the storage before work starts."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass

import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..spec import Problem
from ..store import Store, StoreError, open_store

SECONDS = 120.0
"""Time for a node to start a process and answer."""

LOST = (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
"""Errors of a node that is lost or too busy to answer; a job is not rejected for these."""


@dataclass(frozen=True)
class _Answer:
    """Why a node cannot be used, "" if it can. failure: it failed before it checked the storage."""

    reason: str = ""
    failure: bool = False


def storage_problems(store: Store) -> list[Problem]:
    """Nodes that cannot run our code or write to the storage, or have another folder at its path.

    If the path is on the driver's own disk, other nodes would create a folder of that name on
    theirs, and what they write to it would be lost to the job.
    """
    nodes = {n["NodeID"]: n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"]}
    if len(nodes) < 2:
        return []  # the driver itself has checked it
    probe = f"staging/.probe-{uuid.uuid4().hex[:8]}"
    store.write_file(probe, b"flexkd")
    try:
        asked = {
            address: ray.remote(_reason)
            .options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(store.uri, probe)
            for node, address in nodes.items()
        }
        found = {address: _answer(reference) for address, reference in asked.items()}
    finally:
        with suppress(OSError):
            store.drop_file(probe)
    return [
        _problem(address, store.uri, found[address]) for address in found if found[address].reason
    ]


def _problem(address: str, uri: str, answer: _Answer) -> Problem:
    if answer.failure:
        return Problem(
            "--address",
            f"the node {address} cannot run this project: {answer.reason}",
            "it needs this project's dependencies in the same versions, and free disk space; see "
            "runtime_env_agent.log in Ray's logs on the node",
        )
    return Problem(
        "--storage",
        f"the node {address} cannot use {uri}: {answer.reason}",
        "name a bucket that all nodes may write to (their credentials are in their own "
        "environment), or a folder that they share",
    )


def _reason(uri: str, probe: str) -> str:
    """Why this node cannot use the storage; "" if it can."""
    try:
        store = open_store(uri)
        store.read_file(probe)
        store.check_writable()
    except FileNotFoundError:
        return "a different folder exists at that path"
    except (StoreError, OSError) as error:
        return " ".join(str(error).split())
    return ""


def _answer(reference: object) -> _Answer:
    try:
        return _Answer(str(ray.get(reference, timeout=SECONDS)))
    except LOST:
        return _Answer()
    except RayError as error:
        lines = str(error).strip().splitlines()
        # The last line of a traceback is its message.
        message = lines[-1:] if isinstance(error, RayTaskError) else lines
        return _Answer(" ".join(" ".join(message).split())[:300], failure=True)
