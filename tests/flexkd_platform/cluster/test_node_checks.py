"""Which nodes are refused before a job starts, and which are given the benefit of the doubt."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
    TaskUnschedulableError,
    WorkerCrashedError,
)

from flexkd_platform.cluster import node_checks as reach
from flexkd_platform.spec import Problem
from flexkd_platform.store import open_store

NODES = [
    {"NodeID": f"{place}" * 56, "NodeManagerAddress": f"10.0.0.{place}", "Alive": True}
    for place in (1, 2)
]

MISSING = RayTaskError(
    "_reason",
    "Traceback (most recent call last):\n  File …\nModuleNotFoundError: No module named 'pyarrow'",
    ModuleNotFoundError("No module named 'pyarrow'"),
)


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> list[Problem]:
    """What is said where the first node is well and the second answers so."""

    class Remote:
        def options(self, **chosen: object) -> Remote:
            self.node = chosen["scheduling_strategy"].node_id  # type: ignore[attr-defined]
            return self

        def remote(self, *_: object) -> str:
            return str(self.node)

    def get(reference: str, timeout: float) -> str:
        if reference == NODES[0]["NodeID"]:
            return ""
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "remote", lambda _: Remote())
    monkeypatch.setattr(ray, "get", get)
    store = open_store(str(folder / "storage"))
    found = reach.storage_problems(store)
    staged = folder / "storage" / "staging"
    assert not staged.exists() or list(staged.iterdir()) == []
    return found


def test_a_node_that_cannot_use_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = asked(tmp_path, monkeypatch, "a different folder exists at that path")
    assert problem.path == "--storage"
    assert "the node 10.0.0.2 cannot use" in problem.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeEnvSetupError("no room for\npy_modules"), "no room for py_modules"),
        (MISSING, "ModuleNotFoundError: No module named 'pyarrow'"),
        (MISSING.as_instanceof_cause(), "ModuleNotFoundError: No module named 'pyarrow'"),
    ],
)
def test_a_node_that_cannot_run_our_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RayError, reason: str
) -> None:
    (problem,) = asked(tmp_path, monkeypatch, error)
    assert problem.path == "--address"
    assert problem.message.startswith("the node 10.0.0.2 cannot run this project: ")
    assert problem.message.endswith(reason)
    assert "\n" not in problem.message
    assert "dependencies" in problem.remedy


@pytest.mark.parametrize(
    "error",
    [
        GetTimeoutError("too slow"),
        NodeDiedError("gone"),
        WorkerCrashedError(),
        OutOfMemoryError("too busy"),
        TaskUnschedulableError("its node is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_node_that_is_lost_or_busy_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RayError
) -> None:
    assert asked(tmp_path, monkeypatch, error) == []


@pytest.mark.ray
def test_what_ray_really_raises(ray_cluster: str) -> None:
    """Of a task that fails: its own sentence, and not Ray's around it."""

    def fail() -> str:
        raise ModuleNotFoundError("No module named 'pyarrow'")

    task = ray.remote(fail)
    found = reach._answer(task.options(num_cpus=0, max_retries=0).remote())
    assert found.failure
    assert found.reason == "ModuleNotFoundError: No module named 'pyarrow'"
