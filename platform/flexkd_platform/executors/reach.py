"""Whether every node of a cluster can use the storage, found out before anything is started."""

from __future__ import annotations

import uuid
from contextlib import suppress

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..spec import Problem
from ..store import Store, StoreError, open_store

SECONDS = 120.0
"""How long a node may take to start a process and answer."""


def storage_problems(store: Store) -> list[Problem]:
    """Nodes that cannot write the storage, or have another folder at its path.

    A folder of the driver's own disk exists on the other nodes as soon as one of them makes it:
    what they put there would be found by nobody.
    """
    nodes = {n["NodeID"]: n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"]}
    if len(nodes) < 2:
        return []  # the driver itself has tried it
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
            store.filesystem.delete_file(f"{store.root}/{probe}")
    return [
        Problem(
            "--storage",
            f"the node {address} cannot use {store.uri}: {reason}",
            "name a bucket that all nodes may write to (their credentials are in their own "
            "environment), or a folder that they share",
        )
        for address, reason in found.items()
        if reason
    ]


def _reason(uri: str, probe: str) -> str:
    """Why this node cannot use the storage; "" if it can."""
    try:
        store = open_store(uri)
        store.read_file(probe)
        store.check_writable()
    except FileNotFoundError:
        return "it has another folder at that path"
    except (StoreError, OSError) as error:
        return " ".join(str(error).split())
    return ""


def _answer(reference: object) -> str:
    try:
        return str(ray.get(reference, timeout=SECONDS))
    except RayError:
        return ""  # a node that is lost, or too busy to answer, is no reason to refuse a job
