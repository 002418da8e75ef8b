"""What the images run, as plain processes: on hosts whose disks are read-only, as the image's user.

One head, one worker and a Prometheus serve all tests of this file.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from flexkd_platform.cli.app import main

from ..cluster.network import Host, Process, wait_until
from ..cluster.services import MakeHost, ObjectStorage
from .boards import ALERTS, alerts, queries
from .conftest import DOCKER

pytestmark = pytest.mark.hosts

AS_USER = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
TOKEN_FILE = "/tmp/secrets/ray_auth_token"
SMALL = ["--object-store-memory", str(150 * 1024**2)]


def install(host: Host) -> None:
    """Put the scripts where the image has them on its PATH."""
    for script in ("entrypoint.sh", "health.py"):
        name = "flexkd-" + script.partition(".")[0]
        host.write(f"/tmp/bin/{name}", (DOCKER / script).read_bytes(), mode=0o755)


def give_token(host: Host, token: str, mode: int = 0o400) -> None:
    host.write(TOKEN_FILE, token, mode=mode)
    host.run(["chown", "10001:10001", TOKEN_FILE])


def environment(**more: str) -> dict[str, str]:
    path = Host.env()["PATH"]
    return {"PATH": f"/tmp/bin:{path}", "RAY_AUTH_TOKEN_PATH": TOKEN_FILE, **more}


def healthy(host: Host, role: str) -> bool:
    done = host.run([*AS_USER, "flexkd-health", role], environment(), check=False)
    return done.returncode == 0


@dataclass
class Cluster:
    head: Host
    worker: Host
    token: str
    head_process: Process
    worker_process: Process

    def get(self, path: str, token: str | None = None) -> Any:
        request = urllib.request.Request(f"http://{self.head.address}:8265{path}")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def targets(self) -> list[str]:
        found = self.get("/api/prometheus/sd", self.token)
        return [target for group in found for target in group["targets"]]


@pytest.fixture(scope="module")
def cluster(make_host: MakeHost, s3: ObjectStorage) -> Iterator[Cluster]:
    # The images hold this project; here the checkout does.
    head, worker = (make_host(name, checkout=True) for name in ("head", "worker"))
    token = secrets.token_hex(16)
    for host in (head, worker):
        install(host)
        give_token(host, token)
    head_process = head.start(
        [*AS_USER, "flexkd-entrypoint", "head", *SMALL], environment(**s3.env)
    )
    head_process.wait_until(lambda: healthy(head, "head"))
    argv = [*AS_USER, "flexkd-entrypoint", "worker", "--num-cpus", "1", *SMALL]
    where = environment(RAY_HEAD_ADDRESS=f"{head.address}:6379", **s3.env)
    worker_process = worker.start(argv, where)
    worker_process.wait_until(lambda: healthy(worker, "worker"))
    yield Cluster(head, worker, token, head_process, worker_process)
    for host in (worker, head):
        host.stop()


def test_head_and_worker_are_one_cluster_that_asks_for_the_token(cluster: Cluster) -> None:
    path = "/api/v0/nodes?limit=10"
    with pytest.raises(urllib.error.HTTPError) as refused:
        cluster.get(path)
    assert refused.value.code == 401
    with pytest.raises(urllib.error.HTTPError) as wrong:
        cluster.get(path, "guessed")
    assert wrong.value.code == 403
    nodes = cluster.get(path, cluster.token)["data"]["result"]["result"]
    assert sorted(node["node_ip"] for node in nodes if node["state"] == "ALIVE") == sorted(
        [cluster.head.address, cluster.worker.address]
    )
    cpus = {node["node_ip"]: node["resources_total"].get("CPU", 0) for node in nodes}
    assert cpus == {cluster.head.address: 0, cluster.worker.address: 1}


def test_everything_runs_as_the_images_user_and_shows_no_token(cluster: Cluster) -> None:
    for host in (cluster.head, cluster.worker):
        shown = host.run(["ps", "-eo", "uid=,args="]).stdout
        ray = [line.split(maxsplit=1) for line in shown.splitlines() if "ray" in line]
        assert ray
        assert {uid for uid, command in ray if "ps -eo" not in command} == {"10001"}
        assert cluster.token not in shown


def test_health_tells_a_head_from_a_worker(cluster: Cluster) -> None:
    assert healthy(cluster.head, "worker"), "a head is a node, too"
    done = cluster.worker.run([*AS_USER, "flexkd-health", "head"], environment(), check=False)
    assert done.returncode == 1
    assert "gcs_healthz" in done.stderr
    assert done.stderr.count("\n") == 1


def test_kuberays_wait_for_the_head_passes_with_the_token_alone(cluster: Cluster) -> None:
    check = ["ray", "health-check", "--address", f"{cluster.head.address}:6379"]
    with_token = environment(RAY_AUTH_MODE="token")
    assert cluster.worker.run([*AS_USER, *check], with_token, check=False).returncode == 0
    without = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="guessed")
    assert cluster.worker.run([*AS_USER, *check], without, check=False).returncode != 0


def test_the_head_tells_prometheus_of_every_node(cluster: Cluster) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        cluster.get("/api/prometheus/sd")
    assert refused.value.code == 401
    cluster.head_process.wait_until(
        lambda: (
            {f"{cluster.head.address}:8080", f"{cluster.worker.address}:8080"}
            <= set(cluster.targets())
        )
    )


@pytest.fixture(scope="module")
def prometheus(cluster: Cluster, make_host: MakeHost) -> Iterator[str]:
    """Prometheus with the configuration of the containers; the address of its API."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus not found; install Debian's package of that name")
    host = make_host("prometheus")
    give_token(host, cluster.token)
    host.write("/tmp/etc/hosts", f"127.0.0.1 localhost\n{cluster.head.address} head\n")
    text = (DOCKER / "prometheus" / "prometheus.yaml").read_text()
    assert "/run/secrets/ray_auth_token" in text
    text = text.replace("/run/secrets/ray_auth_token", TOKEN_FILE).replace("15s", "2s")
    alerts = host.write("/tmp/alerts.yaml", ALERTS.read_text(encoding="utf-8"))
    text = text.replace("/etc/prometheus/alerts.yaml", str(alerts))
    config = host.write("/tmp/prometheus.yaml", text)
    argv = ["prometheus", f"--config.file={config}", "--storage.tsdb.path=/tmp/data"]
    process = host.start([*AS_USER, *argv], {"HOME": "/tmp"})
    api = f"http://{host.address}:9090/api/v1"
    nodes = {f"{node.address}:8080" for node in (cluster.head, cluster.worker)}

    def scraped() -> bool:
        return nodes <= {found["metric"]["instance"] for found in ask(api, "ray_resources")}

    process.wait_until(scraped)
    yield api
    host.stop()


def ask(api: str, query: str) -> list[Any]:
    url = f"{api}/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    return list(found["data"]["result"])


def kept(query: str) -> str:
    """A query of gauges for what they were last, also after they have gone."""
    return re.sub(r"(ray_flexkd_trials\{[^}]*\})", r"last_over_time(\1[10m])", query)


def has_values(api: str, query: str) -> bool:
    return bool(ask(api, query))


def test_every_query_of_the_board_is_one_that_prometheus_understands(prometheus: str) -> None:
    found = [*queries(), *alerts().values()]
    assert found
    for query in found:
        ask(prometheus, query)


def test_the_panels_of_an_idle_cluster_have_values(prometheus: str, cluster: Cluster) -> None:
    always = re.compile(r"ray_(node_(cpu|mem|disk|network)|resources\{Name=\"CPU\"\}|object_store)")
    shown = [query for query in queries() if always.search(query)]
    assert len(shown) >= 6
    # Ray tells its numbers every ten seconds, and what a slow scrape missed is no value meanwhile.
    for query in shown:
        wait_until(partial(has_values, prometheus, query), f"values of {query}")

    def total() -> list[str]:
        return [found["value"][1] for found in ask(prometheus, 'sum(ray_resources{Name="CPU"})')]

    wait_until(lambda: total() == ["1"], "one CPU: the worker's; the head gives none")


SPEC = """\
name: in-a-pod
task: {kind: classification, data: {source: builtin, train: 24, validation: 8, test: 8}}
teacher:
  model: {config: {model_type: bert, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
                   intermediate_size: 32, max_position_embeddings: 66}, vocab_size: 400}
student: {init: {kind: random, layers: 1, hidden_size: 8}}
distill: {epochs: 1, batch_size: 8}
sweep: {methods: [{kind: ft}], seeds: [10]}
resources: {score_workers: 1, teacher_cpus: 1}
"""


def test_a_printed_ray_job_runs(
    cluster: Cluster,
    s3: ObjectStorage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """Submitted by the command that KubeRay's submitter runs, with the spec of the ConfigMap."""
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC, encoding="utf-8")
    where = ["--storage", s3.uri("in-a-pod"), "--tracking-uri", "none"]
    assert main(["submit", str(file), "--kuberay", "--dry-run", *where]) == 0
    spec_map, job = yaml.safe_load_all(capsys.readouterr().out)
    # The only change: where the ConfigMap is mounted, on a disk that is read-only here.
    mounted = cluster.head.write("/tmp/config/spec.yaml", spec_map["data"]["spec.yaml"])
    command = shlex.split(job["spec"]["entrypoint"].replace("/etc/flexkd/spec.yaml", mounted))
    submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", *command]
    env = environment(RAY_AUTH_MODE="token")
    done = cluster.head.run([*AS_USER, *submit], env, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    name = spec_map["metadata"]["annotations"]["flexkd/job"]
    assert f"in-a-pod/jobs/{name}/results.json" in s3.keys("in-a-pod/jobs/")
    shown = done.stdout + done.stderr
    assert cluster.token not in shown
    assert s3.env["AWS_SECRET_ACCESS_KEY"] not in shown
    if shutil.which("prometheus") is not None:
        shown_on_the_board(request.getfixturevalue("prometheus"), name)


def shown_on_the_board(api: str, job: str) -> None:
    """Every query of the board that is about jobs has values of the one that has run."""
    # Ray drops the gauges of a driver that has ended; Prometheus still has what it read last.
    (trained,) = [kept(query) for query in queries() if "state) (ray_flexkd_trials" in query]
    wait_until(partial(has_values, api, trained), f"values of {trained}")
    states = {row["metric"]["state"]: row["value"][1] for row in ask(api, trained)}
    assert states == {"running": "0", "done": "1", "reused": "0", "failed": "0", "pruned": "0"}
    assert {row["metric"]["flexkd_job"] for row in ask(api, trained)} == {job}
    # Shares of reused steps and losses that are not finite have no value: there were none.
    never = ("reused", "not_finite")
    ours = [q for q in queries() if "ray_flexkd" in q and not any(word in q for word in never)]
    assert len(ours) >= 5
    for query in map(kept, ours):
        wait_until(partial(has_values, api, query), f"values of {query}")
    for query in map(kept, alerts().values()):
        assert not ask(api, query), f"nothing failed: {query}"


def nothing_left(host: Host) -> bool:
    shown = host.run(["ps", "-eo", "args="]).stdout
    return "raylet" not in shown and "gcs_server" not in shown


def test_a_stopped_container_leaves_nothing_behind(cluster: Cluster) -> None:
    """Last in this file: Docker and Kubernetes send SIGTERM to what the entrypoint has become."""

    def idle() -> bool:
        actors = cluster.get("/api/v0/actors?limit=1000", cluster.token)["data"]["result"]["result"]
        return all(actor["state"] == "DEAD" for actor in actors)

    # Ray waits half a minute for what still runs on a node that is to stop.
    wait_until(idle, "the job's last actors to end")
    for host, process in (
        (cluster.worker, cluster.worker_process),
        (cluster.head, cluster.head_process),
    ):
        started = host.run(["pgrep", "--oldest", "--full", "ray start"]).stdout.strip()
        host.run(["kill", "-TERM", started])
        process.wait(120)
        wait_until(partial(nothing_left, host), f"Ray to be gone from {host.name}", 30)
