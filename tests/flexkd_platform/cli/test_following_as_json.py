"""What `--wait --json` prints when it is not known how a job ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from flexkd_platform.cli.jobs import follow_to_the_end
from flexkd_platform.submission.logs import LostClusterError

TOLD = {"id": "tour-12345678-1", "attempt": 1}


class Jobs:
    """One job of a cluster; following it ends with an error, or not."""

    address = "http://head:8265"

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def status(self, job_id: str) -> Any:
        return SimpleNamespace(status="SUCCEEDED", code=0, message="")

    def follow(self, job_id: str, warn: Any) -> Iterator[str]:
        yield "begun\n"
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [LostClusterError("lost it"), KeyboardInterrupt()], ids=repr)
def test_the_id_is_told_all_the_same(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    assert follow_to_the_end(Jobs(error), TOLD["id"], TOLD) == 1  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert json.loads(told) == {**TOLD, "status": "unknown", "exit_code": None}


def test_a_job_that_ended_is_told_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert follow_to_the_end(Jobs(None), TOLD["id"], TOLD) == 0  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert json.loads(told) == {**TOLD, "status": "SUCCEEDED", "exit_code": 0}
