"""Threads that wait sleep, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flexkd_platform.cluster.idle_threads import POLICY

PROGRAM = """
import os, sys
from flexkd_platform.cli.app import main
assert main(["list", "tasks"]) == 0
assert "torch" not in sys.modules, "OpenMP reads it when torch is imported"
print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "used"), [(None, "passive"), ("active", "active")])
def test_every_command_sets_the_policy(given: str | None, used: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != POLICY}
    environment |= {POLICY: given} if given else {}
    argv = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == used
