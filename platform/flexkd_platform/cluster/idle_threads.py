"""How threads of a process wait for one another, wherever ours run.

OpenMP's threads spin by default. A step of several threads then takes the core that another process
of the machine needs, or that the thread it waits for needs: beside other work it was seen to take
100 times as long. Threads that sleep cost microseconds a barrier. A policy that is set in the
environment stays.
"""

from __future__ import annotations

import os

POLICY = "OMP_WAIT_POLICY"


def idle_threads() -> dict[str, str]:
    """The environment variables of every process that trains, evaluates or scores."""
    return {POLICY: os.environ.get(POLICY, "passive")}
