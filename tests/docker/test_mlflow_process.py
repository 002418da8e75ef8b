"""What the MLflow image runs, as plain processes; PostgreSQL and S3 are on other hosts."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ..cluster.network import Host, Process, wait_until
from ..cluster.services import Database, MakeHost, ObjectStorage
from .conftest import DOCKER

pytestmark = pytest.mark.hosts

AS_USER = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
PASSWORD_FILE = "/tmp/secrets/postgres_password"
ENTRYPOINT = "/tmp/bin/flexkd-entrypoint"
HEALTH = "/tmp/bin/flexkd-health"
BUCKETS = "/tmp/bin/flexkd-buckets"


@dataclass
class Tracking:
    host: Host
    process: Process
    database: Database
    s3: ObjectStorage
    env: dict[str, str]

    def ask(self, path: str, body: object = None, name: str = "", method: str = "") -> bytes:
        """An answer of the server; `name`: the host by which it is asked."""
        address = f"http://{self.host.address}:5000{path}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data=data, method=method or None)
        request.add_header("Host", name or "mlflow:5000")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def tracking(make_host: MakeHost, postgres: Database, s3: ObjectStorage) -> Iterator[Tracking]:
    host = make_host("tracking")
    for script, path in (("entrypoint.sh", ENTRYPOINT), ("health.py", HEALTH)):
        host.write(path, (DOCKER / script).read_bytes(), mode=0o755)
    host.write(BUCKETS, (DOCKER / "buckets.py").read_bytes(), mode=0o755)
    host.write(PASSWORD_FILE, postgres.password + "\n", mode=0o400)
    host.run(["chown", "10001:10001", PASSWORD_FILE])
    uri = postgres.create("images").replace(f":{postgres.password}@", "@")
    env = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "MLFLOW_S3_ENDPOINT_URL": s3.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_BACKEND_STORE_URI": uri,
        "PGPASSWORD_FILE": PASSWORD_FILE,
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://images",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow:5000,localhost:*,127.0.0.1:*",
        **s3.env,
    }
    for told in ("created images", "all buckets exist"):
        assert host.run([*AS_USER, sys.executable, BUCKETS, "images"], env).stdout.strip() == told
    process = host.start([*AS_USER, ENTRYPOINT, "mlflow"], env)
    process.wait_until(lambda: host.run([*AS_USER, HEALTH, "mlflow"], check=False).returncode == 0)
    yield Tracking(host, process, postgres, s3, env)
    host.stop()


def test_runs_go_to_the_database_and_files_to_the_bucket(tracking: Tracking) -> None:
    path = "/api/2.0/mlflow/experiments/create"
    made = json.loads(tracking.ask(path, {"name": "images"}))["experiment_id"]
    with tracking.database.connect("images") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM experiments WHERE experiment_id = %s", (int(made),))
        assert cursor.fetchone() == ("images",)
    place = f"/api/2.0/mlflow-artifacts/artifacts/{made}/note.txt"
    tracking.ask(place, b"content", method="PUT")
    assert tracking.ask(place) == b"content"


def test_no_password_is_in_the_list_of_processes(tracking: Tracking) -> None:
    shown = tracking.host.run(["ps", "-eo", "uid=,args="]).stdout
    server = [line.split(maxsplit=1) for line in shown.splitlines() if "mlflow" in line]
    assert server
    assert {uid for uid, command in server if "ps -eo" not in command} == {"10001"}
    assert tracking.database.password not in shown
    assert "postgresql" not in shown


def test_a_page_of_another_site_cannot_ask_it(tracking: Tracking) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert b"Default" in tracking.ask(path)
    with pytest.raises(urllib.error.HTTPError) as refused:
        tracking.ask(path, name="evil.example")
    assert refused.value.code == 403


def test_a_password_that_others_can_read_starts_nothing(tracking: Tracking) -> None:
    path = tracking.host.write("/tmp/open_password", "secret", mode=0o644)
    env = tracking.env | {"PGPASSWORD_FILE": path}
    done = tracking.host.run([*AS_USER, ENTRYPOINT, "mlflow"], env, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"flexkd: others can read {path}, which PGPASSWORD_FILE names; chmod 0400 {path}\n"
    )


def test_a_stopped_container_leaves_nothing_behind(tracking: Tracking) -> None:
    """Last in this file: Docker sends SIGTERM to what the entrypoint has become."""
    oldest = ["pgrep", "--oldest", "--full", "mlflow server"]
    tracking.host.run(["kill", "-TERM", tracking.host.run(oldest).stdout.strip()])
    tracking.process.wait()
    shown = ["ps", "-eo", "args="]
    wait_until(lambda: "mlflow" not in tracking.host.run(shown).stdout, "all of it to be gone", 30)
