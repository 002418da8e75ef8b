"""Benchmark scoring and caching: rows per second on one and two workers, and the driver's memory.

    python benchmarks/scoring_scale.py [--rows 20000] [--chunk 64] [--repeats 3]
        [--memory 10000 100000 1000000] [--hosts]

Creates a corpus of short rows and an untrained BERT with two layers of width 32, and starts Ray
with nodes of one CPU each. Runs the pass for G and a teacher cache repeatedly, each time from
scratch in a separate driver. Prints medians and spread of the rows per second, measured once every
worker has finished something, their ratio in this run, and the driver's peak resident memory by
number of rows. The machine should be idle otherwise, and have at least two CPUs.

With --hosts (root, on Linux), the driver and each worker are separate hosts in network namespaces,
and the storage is an S3 server on another host. Without it, nodes on this machine share a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
SYLLABLES = [consonant + vowel for consonant in "bdkn" for vowel in "aeiou"]
WORDS = [first + second for first in SYLLABLES for second in SYLLABLES]
HELD_OUT = 200
QUIET = {"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def make_corpus(folder: Path, rows: int) -> Path:
    """Write Parquet splits, each row with 5 to 8 words and one of two labels; reproducible."""
    draw = random.Random(0)
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    folder.mkdir(parents=True)
    for split, count in (("train", rows), ("validation", HELD_OUT), ("test", HELD_OUT)):
        with pq.ParquetWriter(folder / f"{split}.parquet", schema) as writer:
            for start in range(0, count, 50_000):
                size = min(50_000, count - start)
                texts = [" ".join(draw.choices(WORDS, k=draw.randint(5, 8))) for _ in range(size)]
                labels = [(start + place) % 2 for place in range(size)]
                writer.write_table(pa.table({"text": texts, "label": labels}, schema))
    return folder


def prepare(folder: Path, rows: int, chunk: int, uri: str) -> Any:
    """Publish the data set and the teacher; returns the remaining pass."""
    from flexkd_platform.models import load_tokenizer, load_with_head, save_model
    from flexkd_platform.preflight import Preflight
    from flexkd_platform.search import build_plan
    from flexkd_platform.spec import load_spec
    from flexkd_platform.steps import passes, run_step
    from flexkd_platform.store import open_store

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = shape | {"model_type": "bert", "intermediate_size": 64, "max_position_embeddings": 32}
    spec = {
        "name": "scale",
        "task": {
            "kind": "classification",
            "data": {"source": "files", "path": str(make_corpus(folder / "data", rows))},
            "max_length": 16,
        },
        "teacher": {"model": {"config": config, "vocab_size": 600}},
        "student": {"init": {"kind": "random", "layers": 1, "hidden_size": 16}},
        "score": {"chunk": chunk},
        "sweep": {"methods": [{"kind": "flexkd"}], "seeds": [1]},
    }
    file = folder / "job.yaml"
    file.write_text(json.dumps(spec))
    job, preflight, store = load_spec(file), Preflight(), open_store(uri)
    plan = build_plan(job, preflight.facts_of)
    steps = {step.kind: step for step in plan.shared}
    for kind in ("dataset", "base"):
        list(run_step(steps[kind], store, 1))
    # Not trained: training takes longest and does not affect the time of the pass.
    source = store.folder(steps["base"]) / "model"
    model = load_with_head(source, outputs=2, regression=False, seed=0)
    with store.publish(steps["teacher"]) as draft:
        save_model(model, load_tokenizer(source), draft.folder / "model")
    (request,) = passes([step for step in plan.shared if step.kind in {"score", "cache"}])
    return request


# --- one pass, in a separate process -----------------------------------------------------------


def drive(file: Path, uri: str, address: str, workers: int) -> dict[str, Any]:
    """Run the pass in a file from scratch on a cluster; returns its measurements."""
    from flexkd_platform.executors.ray_executor import RayExecutor
    from flexkd_platform.spec import Resources
    from flexkd_platform.store import open_store

    request, store = pickle.loads(file.read_bytes()), open_store(uri)
    for kind in ("score", "cache"):
        if store.list_folder(f"steps/{kind}"):
            store.filesystem.delete_dir(f"{store.root}/steps/{kind}")
    executor = RayExecutor(store, Resources(score_workers=workers), address)
    began, before = time.perf_counter(), _peak_mib()
    seen: set[int] = set()
    started, counted, last, parts = 0.0, 0, 0.0, 0

    def tell(done: Any) -> None:
        nonlocal started, counted, last, parts
        last, parts = time.perf_counter(), parts + 1
        if len(seen) == workers:
            counted += done.examples
        else:  # work done while other workers are still loading is not counted
            seen.add(done.worker)
            started = last

    executor.run_pass(request, tell)
    seconds = time.perf_counter() - began
    executor.close()
    assert len(seen) == workers, "the cluster has fewer CPUs than workers"
    digest = store.manifest(request.scores[0]).summary["digest"]
    return {
        "rate": counted / (last - started),
        "seconds": seconds,
        "publishing": seconds - (last - began),
        "parts": parts,
        "before_mib": before,
        "peak_mib": _peak_mib(),
        "digest": digest,
    }


def _peak_mib() -> float:
    """The peak resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


# --- where it runs -----------------------------------------------------------------------------


@dataclass
class Place:
    """A cluster and a storage that its workers can reach."""

    address: str
    storage: str
    folder: Path
    driver: Any = None  # the host of the driver; None: this machine

    def run(self, request: Any, uri: str, workers: int) -> dict[str, Any]:
        """Run one pass, with a new process as the driver."""
        file = self.folder / "request"
        file.write_bytes(pickle.dumps(request))
        if self.driver is not None:
            place = self.driver.write("/tmp/request", file.read_bytes())
            command = [__file__, "--drive", place, uri, self.address, str(workers)]
            done = self.driver.run([sys.executable, *command], self.driver_env, timeout=7200)
        else:
            command = [__file__, "--drive", str(file), uri, self.address, str(workers)]
            done = subprocess.run(
                [sys.executable, *command],
                env=os.environ | QUIET,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"the pass failed\n{done.stdout}\n{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    @property
    def driver_env(self) -> dict[str, str]:
        """The environment variables of a driver on another host."""
        secrets = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        return QUIET | secrets


@contextmanager
def nodes_of_this_machine(workers: int, folder: Path) -> Iterator[Place]:
    """Start Ray nodes of one CPU each, and a head without CPUs."""
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 150 * 1024**2}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory}
    )
    try:
        for _ in range(workers):
            cluster.add_node(num_cpus=1, **memory)
        yield Place(cluster.address, str(folder / "storage"), folder)
    finally:
        cluster.shutdown()


@contextmanager
def hosts(workers: int, folder: Path) -> Iterator[Place]:
    """Start hosts of one CPU each, one for the driver, and one with an S3 server."""
    sys.path.insert(0, str(ROOT))
    from tests.cluster.network import Network, missing
    from tests.cluster.services import start_s3

    if reason := missing():
        raise SystemExit(f"--hosts: {reason}")
    (folder / "logs").mkdir(exist_ok=True)
    network = Network(folder / "logs")
    try:
        storage = start_s3(network.host("s3"))
        os.environ.update(storage.env)
        env = QUIET | storage.env
        head = network.host("head", checkout=True)
        node = [f"--object-store-memory={150 * 1024**2}", "--block"]
        argv = [
            "ray",
            "start",
            "--head",
            "--port=6379",
            "--num-cpus=0",
            "--include-dashboard=false",
        ]
        process = head.start([*argv, f"--node-ip-address={head.address}", *node], env)
        process.wait_until(lambda: "--block" in process.tail())
        for number in range(workers):
            host = network.host(f"worker-{number + 1}", checkout=True)
            argv = ["ray", "start", f"--address={head.address}:6379", "--num-cpus=1"]
            joined = host.start([*argv, f"--node-ip-address={host.address}", *node], env)
            joined.wait_until(lambda joined=joined: "--block" in joined.tail())
        yield Place(f"{head.address}:6379", storage.uri("scale"), folder, head)
    finally:
        network.close()


# --- what is measured --------------------------------------------------------------------------


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--drive"]:
        file, uri, address, workers = sys.argv[2:]
        print(json.dumps(drive(Path(file), uri, address, int(workers))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000, help="of the throughput's corpus")
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--hosts", action="store_true")
    options = parser.parse_args()
    where = hosts if options.hosts else nodes_of_this_machine
    kind = "hosts of network namespaces, S3" if options.hosts else "nodes of one machine, a folder"
    print(f"chunks of {options.chunk}; {kind}; {os.cpu_count()} CPUs in all")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.repeats:
            throughput(where, folder, options.rows, options.chunk, options.repeats)
        for rows in options.memory:
            memory(where, folder, rows, options.chunk)


def throughput(where: Any, folder: Path, rows: int, chunk: int, repeats: int) -> None:
    """Measure rows per second with one and two workers, each on a cluster of that size."""
    rates: dict[int, list[float]] = {}
    digests = set()
    for workers in (1, 2):
        place = folder / f"{workers} of {rows}"
        place.mkdir()
        with where(workers, place) as cluster:
            request = prepare(place, rows, chunk, cluster.storage)
            runs = [cluster.run(request, cluster.storage, workers) for _ in range(repeats)]
        rates[workers] = [run["rate"] for run in runs]
        digests |= {run["digest"] for run in runs}
        spread = f"{min(rates[workers]):,.0f} to {max(rates[workers]):,.0f}"
        median = statistics.median(rates[workers])
        print(f"{rows:>9,} rows, {workers} worker(s): {median:,.0f} rows/s ({spread})", flush=True)
    ratio = statistics.median(rates[2]) / statistics.median(rates[1])
    same = "the same" if len(digests) == 1 else "NOT the same"
    print(f"two workers: {ratio:.2f} × one; G is {same} in all {2 * repeats} runs", flush=True)


def memory(where: Any, folder: Path, rows: int, chunk: int) -> None:
    """Measure the peak memory of the driver of one pass on two workers."""
    place = folder / f"memory of {rows}"
    place.mkdir()
    with where(2, place) as cluster:
        request = prepare(place, rows, chunk, cluster.storage)
        found = cluster.run(request, cluster.storage, 2)
    print(
        f"{rows:>9,} rows: driver's peak {found['peak_mib']:,.0f} MiB, of which "
        f"{found['before_mib']:,.0f} before the pass; {found['parts']:,} parts, "
        f"{found['seconds']:,.0f} s, {found['publishing']:,.1f} s of them to publish",
        flush=True,
    )


if __name__ == "__main__":
    main()
