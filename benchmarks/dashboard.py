"""Time the first and the second view of `flexkd dashboard` on synthetic runs.

    python benchmarks/dashboard.py [--runs 500 2000 10000]

Each number of runs is served twice by a process of its own: with an empty index of the runs, and
with a current one. Prints seconds of CPU of the process, and of wall time in brackets: from its
start until it listens, and for the first and second request for the leaderboard, a page of curves,
and a filtered leaderboard.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from compare_runs import write_runs

VIEWS = {
    "first view": "leaderboard",
    "second view": "leaderboard",
    "curves": "curves",
    "filtered": f"leaderboard?user=user1&where={urllib.parse.quote('alpha<=2')}",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[500, 2000, 10_000])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds of CPU (of wall time)")
    for runs in options.runs:
        with TemporaryDirectory() as folder:
            database = Path(folder, "mlflow.db")
            write_runs(database, runs)
            for index in ("empty", "current"):
                with served(f"sqlite:///{database}", folder) as (url, process, waited):
                    listening = f"{cpu_of(process):.2f} ({waited:.2f})"
                    times = [f"{name} {timed(f'{url}/{v}', process)}" for name, v in VIEWS.items()]
                print(f"{runs} runs, {index} index: listens {listening}, {', '.join(times)}")


@contextmanager
def served(uri: str, folder: str) -> Iterator[tuple[str, psutil.Process, float]]:
    """A dashboard in a process of its own: its URL, and the seconds until it listened."""
    command = [sys.executable, "-m", "flexkd_platform.cli", "dashboard", "--no-browser"]
    command += ["--storage", folder, "--tracking-uri", uri, "--port", "0"]
    environment = os.environ | {"FLEXKD_CACHE": f"{folder}/cache"}
    started = time.monotonic()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, text=True, env=environment, **streams)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        yield url, psutil.Process(server.pid), time.monotonic() - started
    finally:
        server.terminate()
        server.wait()


def timed(url: str, process: psutil.Process) -> str:
    """CPU and wall time of one request."""
    before, started = cpu_of(process), time.monotonic()
    with urllib.request.urlopen(url, timeout=600) as response:
        response.read()
    return f"{cpu_of(process) - before:.2f} ({time.monotonic() - started:.2f})"


def cpu_of(process: psutil.Process) -> float:
    """Seconds of CPU that the process has used."""
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
