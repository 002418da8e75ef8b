"""The services of a team on hosts of their own: S3, PostgreSQL, MLflow and a Ray cluster."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg2

from ..forks import ray_worker_forks
from .network import CHECKOUT, Host, Process, wait_until

MakeHost = Callable[..., Host]


def answers(url: str) -> bool:
    """Whether a web server answers at `url`."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)


# --- S3 ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ObjectStorage:
    """An S3 server with one bucket; `env` holds what clients need to know of it."""

    host: Host
    process: Process
    bucket: str = "team"

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://{self.host.address}:5000"

    @property
    def env(self) -> dict[str, str]:
        """Credentials, and the address for clients that look for it there (boto, MLflow)."""
        return {
            "AWS_ACCESS_KEY_ID": "flexkd-key",
            "AWS_SECRET_ACCESS_KEY": "flexkd-hidden",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "MLFLOW_S3_ENDPOINT_URL": self.endpoint,
        }

    def uri(self, prefix: str) -> str:
        """A place in the bucket, as `--storage` takes it."""
        query = f"endpoint_override={self.host.address}:5000&scheme=http&region=us-east-1"
        return f"s3://{self.bucket}/{prefix}?{query}"

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all objects below `prefix`."""
        pages = self._client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return sorted(item["Key"] for page in found for item in page.get("Contents", []))

    def create_bucket(self) -> None:
        """Make the bucket; it must not be there."""
        self._client().create_bucket(Bucket=self.bucket)

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
        )


def start_s3(host: Host) -> ObjectStorage:
    """moto's S3 server, with an empty bucket."""
    process = host.start(["moto_server", "--host", "0.0.0.0", "--port", "5000"])
    storage = ObjectStorage(host, process)
    process.wait_until(lambda: answers(f"{storage.endpoint}/moto-api/data.json"))
    storage.create_bucket()
    return storage


# --- PostgreSQL ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Database:
    """A PostgreSQL server that asks for a password."""

    host: Host
    process: Process
    user: str
    password: str

    def uri(self, database: str) -> str:
        """Where the database is, password and all; SQLAlchemy's default driver is another one."""
        return (
            f"postgresql+psycopg2://{self.user}:{self.password}@{self.host.address}:5432/{database}"
        )

    def connect(self, database: str, password: str | None = None) -> Any:
        """A connection of psycopg2's, from this machine."""
        return psycopg2.connect(
            host=self.host.address,
            dbname=database,
            user=self.user,
            password=password or self.password,
        )

    def create(self, database: str) -> str:
        """Make an empty database; returns its URI."""
        command = [str(_postgres_tool("createdb")), "--host=/tmp", f"--username={self.user}"]
        self.host.run([*command, database], {"PGPASSWORD": self.password})
        return self.uri(database)


def _postgres_tool(name: str) -> Path | None:
    """A program of the newest PostgreSQL server that is installed."""
    found = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = sorted(found, key=lambda path: int(path.parts[-3]))
    on_path = shutil.which(name)
    return newest[-1] if newest else Path(on_path) if on_path else None


def postgres_missing() -> str | None:
    """Why PostgreSQL cannot run here, or None."""
    absent = [name for name in ("initdb", "postgres") if _postgres_tool(name) is None]
    return f"{', '.join(absent)} not found; install postgresql" if absent else None


def start_postgres(host: Host) -> Database:
    """A new PostgreSQL; it refuses to be root, so it runs as the user of its package."""
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    password = secrets.token_urlsafe(12)
    host.write("/tmp/password", password, mode=0o644)
    make = [str(_postgres_tool("initdb")), "--pgdata=/tmp/database", "--username=mlflow"]
    make += ["--auth=scram-sha-256", "--pwfile=/tmp/password", "--no-sync"]
    host.run([*as_user, *make])
    serve = [str(_postgres_tool("postgres")), "-D", "/tmp/database", "-h", "0.0.0.0", "-k", "/tmp"]
    allow = f"host all all {host.network.prefix}.0/24 scram-sha-256\n"
    with host.path("/tmp/database/pg_hba.conf").open("a") as access:
        access.write(allow)
    process = host.start([*as_user, *serve, "-c", "fsync=off"])
    ready = [str(_postgres_tool("pg_isready")), "--host=/tmp"]
    process.wait_until(lambda: host.run(ready, check=False).returncode == 0)
    return Database(host, process, "mlflow", password)


# --- MLflow --------------------------------------------------------------------------------------


@dataclass
class TrackingServer:
    """An MLflow server: runs in PostgreSQL, files in S3, which it hands out itself."""

    host: Host
    process: Process
    start: Callable[[], Process]

    @property
    def uri(self) -> str:
        """What `--tracking-uri` takes."""
        return f"http://{self.host.address}:5001"

    def restart(self) -> None:
        """Start it again after `process.stop()`."""
        self.process = self.start()
        self.process.wait_until(lambda: answers(f"{self.uri}/health"))


def start_mlflow(
    host: Host,
    backend: str,
    artifacts: str,
    env: Mapping[str, str],
    *,
    allowed_hosts: str | None = None,
    options: Sequence[str] = (),
) -> TrackingServer:
    """`mlflow server` for a team; `allowed_hosts`: the names it answers to, else its own."""
    hosts = allowed_hosts or f"{host.address}:5001"
    argv = [sys.executable, "-m", "mlflow", "server", "--host=0.0.0.0", "--port=5001"]
    argv += [f"--artifacts-destination={artifacts}", "--serve-artifacts", "--workers=1"]
    argv += [f"--allowed-hosts={hosts}", *options]
    # In the environment: whatever stands in a command line, everybody on the host can read.
    secret = {"MLFLOW_BACKEND_STORE_URI": backend}
    # Six processes beside the server, for evaluations that nobody asks for here.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def start() -> Process:
        return host.start(argv, dict(env) | secret | quiet)

    server = TrackingServer(host, start(), start)
    server.process.wait_until(lambda: answers(f"{server.uri}/health"))
    return server


# --- Ray -----------------------------------------------------------------------------------------


@dataclass
class RayHosts:
    """A Ray cluster: a head and workers, each a host of one CPU."""

    head: Host
    workers: list[Host]
    env: dict[str, str]
    token_file: Path | None
    nodes: dict[str, Process] = field(default_factory=dict)

    @property
    def dashboard(self) -> str:
        """The head's address for job submission."""
        return f"http://{self.head.address}:8265"

    @property
    def address(self) -> str:
        """The head's address for drivers and for nodes that join."""
        return f"{self.head.address}:6379"

    def join(self, host: Host, cpus: int = 1) -> None:
        """Have a host join as a worker; with no CPUs it is a place for drivers alone."""
        if "RAY_WORKER_FORKS" in self.env:
            start_forks(host)
        argv = ["ray", "start", f"--address={self.address}", f"--node-ip-address={host.address}"]
        node = [*argv, f"--num-cpus={cpus}", *_RAY_NODE]
        self.nodes[host.name] = host.start(node, self.env)

    def kill(self, worker: Host) -> None:
        """Have a worker's node die: its host is powered off."""
        worker.stop()
        self.nodes.pop(worker.name)

    def replace(self, worker: Host) -> None:
        """Have a new host join in the place of one that died, under its name."""
        place = self.workers.index(worker)
        self.workers[place] = worker.network.host(worker.name)
        self.join(self.workers[place])

    def get(self, path: str) -> Any:
        """What the head's dashboard answers at `path`, which is JSON."""
        request = urllib.request.Request(f"{self.dashboard}{path}")
        if self.token_file is not None:
            request.add_header("Authorization", f"Bearer {self.token_file.read_text()}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def alive(self) -> int:
        """How many nodes the head takes for alive."""
        nodes = self.get("/api/v0/nodes?limit=100")["data"]["result"]["result"]
        return sum(node["state"] == "ALIVE" for node in nodes)

    def wait_for_nodes(self, number: int) -> None:
        """Wait until exactly so many nodes are alive."""
        wait_until(lambda: self.alive() == number, f"{number} live Ray nodes")


FORKS = "/tmp/forks"
"""Where a host has the program whose forks are Ray's workers, and its socket."""


PLACES = ":".join([*(str(CHECKOUT / place) for place in ("", "platform", "dashboards")), FORKS])
"""`PYTHONPATH` of a driver on a host that has the checkout."""


def start_forks(host: Host) -> None:
    """Have a host fork its workers; see tests/forks. The programs that it runs are its own."""
    source = Path(ray_worker_forks.__file__)
    path = host.write(f"{FORKS}/{source.name}", source.read_bytes())
    host.start([sys.executable, path, "serve", f"{FORKS}/socket"])


_RAY_NODE = [
    f"--object-store-memory={150 * 1024**2}",
    "--block",
    "--include-log-monitor=false",  # it sends the output of workers to drivers, which print none
]


def start_ray(
    make_host: MakeHost, env: Mapping[str, str], workers: int, token_file: Path | None
) -> RayHosts:
    """A head and workers by `ray start`; with `token_file`, which this writes, a token is asked.

    Workers of the open cluster are forks, those of the other are started as Ray starts them.
    """
    settings = dict(env) | {"RAY_AUTH_MODE": "disabled", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    token = ""
    if token_file is not None:
        token = secrets.token_hex(32)
        descriptor = os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, token.encode())
        os.close(descriptor)
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/tmp/home/.ray/auth_token"}
    else:
        settings |= ray_worker_forks.environment(f"{FORKS}/socket", FORKS)
    hosts = [make_host(name) for name in ("head", *(f"worker-{n + 1}" for n in range(workers)))]
    for host in hosts if token else []:
        host.write("/tmp/home/.ray/auth_token", token, mode=0o600)
    cluster = RayHosts(hosts[0], hosts[1:], settings, token_file)
    if token_file is None:
        start_forks(cluster.head)
    argv = ["ray", "start", "--head", "--port=6379", f"--node-ip-address={cluster.head.address}"]
    argv += ["--include-dashboard=true", "--dashboard-host=0.0.0.0", "--num-cpus=1", *_RAY_NODE]
    head = cluster.nodes["head"] = cluster.head.start(argv, settings)
    head.wait_until(lambda: cluster.alive() == 1)
    for worker in cluster.workers:
        cluster.join(worker)
    cluster.wait_for_nodes(1 + workers)
    # Jobs are taken by an agent that comes up after the dashboard does.
    head.wait_until(lambda: cluster.get("/api/jobs/") == [])
    return cluster
