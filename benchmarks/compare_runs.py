"""Time `flexkd compare` on synthetic runs: with an empty index, unchanged, and one run changed.

    python benchmarks/compare_runs.py [--runs 500 2000 10000] [--server]

Prints seconds of CPU and of wall time of whole processes. The runs are written to the tables of a
SQLite tracking database that MLflow creates; with `--server`, an `mlflow server` serves it.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from flexkd_platform.tracking import TrialRecord
from flexkd_platform.tracking.connection import connect
from flexkd_platform.tracking.encoding import (
    JOB_HASH,
    JOB_ID,
    KIND,
    METRICS,
    STATUS,
    USER,
    joined_tags,
    trial_params,
    trial_tags,
)

SEEDS = 5
METHODS = ("ft", "kd", "flexkd", "cka", "projector")
SETTINGS = 38
"""Settings of a trial of `jobs/quickstart.yaml`."""
HISTORY = ("train/loss", "train/supervised", "train/learning_rate", "train/grad_norm")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[500, 2000, 10_000])
    parser.add_argument("--server", action="store_true", help="read through an MLflow server")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; seconds of CPU (of wall time)")
    for runs in options.runs:
        with TemporaryDirectory() as folder:
            database = Path(folder, "mlflow.db")
            write_runs(database, runs)
            serving = served(database) if options.server else nullcontext(f"sqlite:///{database}")
            with serving as uri:
                cold, warm = timed(uri, folder), timed(uri, folder)
                touch(database)
                print(f"{runs} runs: first {cold}, again {warm}, changed {timed(uri, folder)}")


def timed(uri: str, folder: str) -> str:
    """Seconds of CPU and wall time of one `flexkd compare` in a process of its own."""
    command = [sys.executable, "-m", "flexkd_platform.cli", "compare"]
    environment = os.environ | {"FLEXKD_CACHE": f"{folder}/cache"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with Path(folder, "out.csv").open("w") as out:
        subprocess.run([*command, "--tracking-uri", uri], check=True, stdout=out, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{cpu:.1f} ({time.monotonic() - started:.1f})"


def write_runs(database: Path, count: int) -> None:
    """Create a tracking database with `count` trials, 5 seeds a group, and a job for every 100."""
    client = connect(f"sqlite:///{database}")
    experiment = int(client.create_experiment("synthetic"))
    runs, tags, params, metrics = [], [], [], []
    now = int(time.time() * 1000)
    for number in range(count):
        trial = synthetic(number)
        run = f"{number:032x}"
        started = now - (count - number) * 1000
        runs.append((run, trial.label, experiment, "FINISHED", started, started + 900, "active"))
        found = {USER: trial.user, **trial_tags(trial), **joined_tags(trial, {}, trial.user)}
        found |= {METRICS: ",".join(trial.metrics), STATUS: "done", "mlflow.runName": trial.label}
        tags += [(run, key, value) for key, value in found.items()]
        params += [(run, key, value) for key, value in trial_params(trial).items()]
        values = {**trial.metrics, "seconds": trial.seconds, **dict.fromkeys(HISTORY, 0.5)}
        metrics += [(run, key, value, started, 100, False) for key, value in values.items()]
    for job in range(-(-count // 100)):
        run = f"{'f' * 16}{job:016x}"
        runs.append((run, f"job {job}", experiment, "FINISHED", now, now + 9, "active"))
        found = {KIND: "job", JOB_HASH: f"{job:064x}", JOB_ID: f"job-{job}", USER: user_of(job)}
        tags += [(run, key, value) for key, value in found.items()]
    with sqlite3.connect(database) as connection:
        columns = "run_uuid, name, experiment_id, status, start_time, end_time, lifecycle_stage"
        connection.executemany(f"INSERT INTO runs ({columns}) VALUES (?,?,?,?,?,?,?)", runs)
        connection.executemany("INSERT INTO tags (run_uuid, key, value) VALUES (?,?,?)", tags)
        connection.executemany("INSERT INTO params (run_uuid, key, value) VALUES (?,?,?)", params)
        columns = "run_uuid, key, value, timestamp, step, is_nan"
        connection.executemany(
            f"INSERT INTO latest_metrics ({columns}) VALUES (?,?,?,?,?,?)", metrics
        )


def touch(database: Path) -> None:
    """Change a tag of one run."""
    with sqlite3.connect(database) as connection:
        rule = f"run_uuid = '{0:032x}' AND key = '{USER}'"
        connection.execute(f"UPDATE tags SET value = 'eve' WHERE {rule}")


def synthetic(number: int) -> TrialRecord:
    """One finished trial: five methods, five seeds a group, three student sizes."""
    group, seed = divmod(number, SEEDS)
    block, method = divmod(group, len(METHODS))
    alpha = 0.01 * (1 + block)
    settings = {
        "task": "classification",
        "dataset.name": "movie-reviews",
        "method.kind": METHODS[method],
        "student.init.layers": 2 + block % 3,
        "distill.learning_rate": 1e-5 * (1 + block // 3 % 40),
        **({"method.alpha": alpha} if method else {}),
        **{f"distill.setting_{place}": place for place in range(SETTINGS - 6)},
    }
    quality = 0.7 + 0.01 * method + 0.001 * (number * 7919 % 17)
    return TrialRecord(
        hash=f"{number:064x}",
        method=METHODS[method],
        params={"alpha": alpha} if method else {},
        settings=settings,
        seed=seed,
        status="done",
        metrics={
            f"{split}/{name}": quality
            for split in ("validation", "test")
            for name in ("accuracy", "f1", "matthews", "accuracy_f1")
        },
        seconds=30.0,
        job=f"{number // 100:064x}",
        user=user_of(number // 100),
    )


def user_of(job: int) -> str:
    """One of ten people."""
    return f"user{job % 10}"


@contextmanager
def served(database: Path) -> Iterator[str]:
    """An `mlflow server` of the database; yields its URI."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--backend-store-uri", f"sqlite:///{database}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        uri = f"http://127.0.0.1:{port}"
        while not _answers(uri):
            time.sleep(0.5)
        yield uri
    finally:
        server.terminate()
        server.wait()


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
