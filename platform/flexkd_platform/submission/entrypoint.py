"""The shell command that a submitted job runs on the head of the cluster."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence


def entrypoint(arguments: Sequence[str]) -> str:
    """The shell command that runs the job with a Python that has Ray.

    An entrypoint gets the head's PATH. It contains the right Python only if the environment was
    activated before `ray start`; if the head is this machine, our own Python is the right one.
    """
    fits = (
        "import importlib.util as u, sys; "
        "sys.exit(sys.version_info < (3, 11) or not u.find_spec('ray'))"
    )
    candidates = shlex.join(["python", "python3", sys.executable])
    test = shlex.join(["-c", fits])
    run = shlex.join(["-m", "flexkd_platform.cli", "run", "spec.yaml", *arguments])
    missing = shlex.join(
        [
            "echo",
            "error: no Python 3.11 or newer with Ray is on the PATH of the head; activate its "
            "environment before `ray start`",
        ]
    )
    return (
        f'for p in {candidates}; do "$p" {test} 2>/dev/null && exec "$p" {run}; done; '
        f"{missing}; exit 1"
    )
