"""That the services run as a team has them: each on its host, told by their own clients."""

from __future__ import annotations

import json
import sys
import urllib.error
from pathlib import Path

import psycopg2
import pytest

from .services import Database, MakeHost, ObjectStorage, RayHosts, TrackingServer, answers

LOG = """
import pathlib, mlflow
pathlib.Path("file.txt").write_text("content")
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_artifact("file.txt")
print(run.info.run_id)
"""
WHERE = """
import json, os, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init(address="auto", log_to_driver=False)
@ray.remote(num_cpus=1)
def look():
    return os.uname().nodename, os.environ["AWS_ACCESS_KEY_ID"]
nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
print(json.dumps(ray.get([look.options(scheduling_strategy=p).remote() for p in places])))
"""


def test_objects_are_put_from_anywhere(s3: ObjectStorage, make_host: MakeHost) -> None:
    host = make_host("client")
    put = "import sys; from pyarrow import fs; f, p = fs.FileSystem.from_uri(sys.argv[1])\n"
    put += "with f.open_output_stream(p) as s: s.write(b'content')"
    host.run([sys.executable, "-c", put, s3.uri("services/object")], s3.env)
    assert s3.keys("services/") == ["services/object"]
    host.stop()


def test_the_database_asks_for_its_password(postgres: Database) -> None:
    postgres.create("services")
    with postgres.connect("services") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (postgres.user,)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        postgres.connect("services", "guessed")


def test_runs_are_in_the_database_and_files_in_the_bucket(
    mlflow_server: TrackingServer,
    postgres: Database,
    s3: ObjectStorage,
    make_host: MakeHost,
) -> None:
    host = make_host("client")
    # No credentials of S3: the server hands artifacts on.
    run_id = host.python(LOG, {"MLFLOW_TRACKING_URI": mlflow_server.uri}).stdout.split()[-1]
    with postgres.connect("mlflow") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT value FROM metrics WHERE run_uuid = %s", (run_id,))
        assert cursor.fetchall() == [(0.5,)]
    assert next(key for key in s3.keys("mlflow/") if run_id in key).endswith("artifacts/file.txt")
    shown = mlflow_server.host.run(["ps", "-eo", "args"]).stdout
    assert "mlflow server" in shown
    assert postgres.password not in shown
    host.stop()


@pytest.mark.parametrize("ray_hosts", ["open", "token"], indirect=True)
def test_a_cluster_of_three_hosts(ray_hosts: RayHosts) -> None:
    told = ray_hosts.head.python(WHERE, ray_hosts.env).stdout.splitlines()[-1]
    assert {name for name, _ in json.loads(told)} == {"head", "worker-1", "worker-2"}
    assert {key for _, key in json.loads(told)} == {"flexkd-key"}


@pytest.mark.parametrize("ray_hosts", ["token"], indirect=True)
def test_a_cluster_with_a_token_refuses_who_has_none(ray_hosts: RayHosts) -> None:
    token_file = ray_hosts.token_file
    assert token_file is not None
    assert token_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(urllib.error.HTTPError) as refused:
        answers(f"{ray_hosts.dashboard}/api/jobs/")
    assert refused.value.code == 401


@pytest.mark.parametrize("ray_hosts", ["open"], indirect=True)
def test_a_worker_dies_and_another_joins(ray_hosts: RayHosts) -> None:
    worker, before = ray_hosts.workers[-1], ray_hosts.alive()
    ray_hosts.kill(worker)
    ray_hosts.wait_for_nodes(before - 1)
    assert not Path(f"/sys/class/net/{worker._link}").exists()
    ray_hosts.replace(worker)
    ray_hosts.wait_for_nodes(before)
