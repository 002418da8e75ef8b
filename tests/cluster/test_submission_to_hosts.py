"""A job sent from a laptop to a head and workers that share no disk and hold no code of ours."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cluster.dashboard import find_dashboard
from flexkd_platform.spec import SpecError

from ..flexkd_platform.conftest import BAD, GOOD, NEUTRAL, RARE, save_bert, write_data
from .network import CHECKOUT, PATIENCE, Host
from .services import MakeHost, ObjectStorage, RayHosts, TrackingServer

with_token = pytest.mark.parametrize("ray_hosts", ["token"], indirect=True)

OURS = {
    "AWS_SECRET_ACCESS_KEY": "aws-secret-of-the-laptop",
    "AWS_SESSION_TOKEN": "aws-session-of-the-laptop",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-password-of-the-laptop",
}
"""Secrets that lie in the environment of whoever submits."""

SPEC = """\
name: sent
task: {kind: classification, max_length: 12, data: {source: files, path: reviews}}
teacher: {model: teacher, finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}}
student: {init: {kind: sliced, layers: 2, hidden_size: 8}}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep: {methods: [{kind: flexkd}], seeds: [10]}
resources: {teacher_cpus: 1, score_workers: 1}
"""

MADE = (
    "{config: {model_type: bert, hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 4, "
    "intermediate_size: 32}, vocab_size: 320}"
)
"""A teacher that is no folder of one machine."""

FINE_TUNED = (
    SPEC.replace("model: teacher", f"model: {MADE}")
    .replace("kind: sliced", "kind: sliced, weights: finetuned")
    .replace("{kind: flexkd}", "{kind: ft}")
    .replace("[10]", "[10, 20]")
)
"""Students that start from the fine-tuned teacher: a step on a node, and two trials."""


@pytest.fixture(scope="module")
def laptop(make_host: MakeHost, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A machine outside the cluster with our code, a spec, its data and its teacher."""
    host = make_host("laptop", checkout=True)
    world = tmp_path_factory.mktemp("world")
    save_bert(world / "teacher", [*GOOD, *BAD, *NEUTRAL, RARE])
    write_data(world / "reviews", regression=False)
    for path in world.rglob("*"):
        if path.is_file():
            host.write(f"/tmp/home/{path.relative_to(world)}", path.read_bytes())
    host.write("/tmp/home/spec.yaml", SPEC)
    return host


def flexkd(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flexkd_platform.cli", *arguments]


def environment(**more: str) -> dict[str, str]:
    places = [CHECKOUT, CHECKOUT / "platform", CHECKOUT / "dashboards"]
    return {"PYTHONPATH": ":".join(map(str, places)), **more}


def tell(ray_hosts: RayHosts, path: str, body: dict[str, Any]) -> None:
    """Ask something of Ray Jobs."""
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {secret_of(ray_hosts)}",
    }
    request = urllib.request.Request(
        f"{ray_hosts.dashboard}{path}", json.dumps(body).encode(), headers
    )
    urllib.request.urlopen(request, timeout=30).close()


def secret_of(ray_hosts: RayHosts) -> str:
    assert ray_hosts.token_file is not None
    return ray_hosts.token_file.read_text()


@with_token
def test_a_cluster_in_token_mode_says_what_to_set(
    ray_hosts: RayHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SpecError, match="is in token mode, and no token was found here"):
        find_dashboard(ray_hosts.dashboard)
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("another" * 8)
    path.chmod(0o600)
    with pytest.raises(SpecError, match=f"rejects the token from {path}"):
        find_dashboard(ray_hosts.dashboard)
    path.write_text(secret_of(ray_hosts))
    path.chmod(0o644)
    with pytest.raises(SpecError, match=f"chmod 600 {path}"):
        find_dashboard(ray_hosts.dashboard)
    path.chmod(0o600)
    assert find_dashboard(ray_hosts.dashboard).problems() == []


@dataclass
class Sent:
    """A job that has ended, and all that can be read of it."""

    told: dict[str, Any]
    everywhere: dict[str, str]
    lines: str


@pytest.fixture(scope="module")
def sent(
    ray_hosts: RayHosts, laptop: Host, s3: ObjectStorage, mlflow_server: TrackingServer
) -> Sent:
    """`flexkd submit --wait` from the laptop; its processes' command lines are read meanwhile."""
    argv = flexkd("submit", "spec.yaml", "--wait", "--json", "--address", ray_hosts.dashboard)
    argv += ["--storage", s3.uri("sent"), "--tracking-uri", mlflow_server.uri]
    env = environment(RAY_AUTH_TOKEN=secret_of(ray_hosts), LOGNAME="ada", **OURS)
    process = laptop.start(argv, env)
    hosts = [ray_hosts.head, *ray_hosts.workers, laptop]
    lines: set[str] = set()
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        for host in hosts:
            script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; echo"
            lines.add(host.run(["bash", "-c", script]).stdout)
        time.sleep(1)
    assert process.wait(1) == 0, process.tail()
    told = json.loads(process.log.read_text().strip().splitlines()[-1])
    jobs = ray_hosts.get("/api/jobs/")
    everywhere = {
        "what submit printed": process.log.read_text(),
        "Ray's table of jobs": json.dumps(jobs),
        "the job's log": json.dumps(ray_hosts.get(f"/api/jobs/{told['id']}/logs")),
        "MLflow's runs": json.dumps(runs_of(mlflow_server)),
    }
    stored = s3.keys()
    for key in stored:
        body = s3._client().get_object(Bucket=s3.bucket, Key=key)["Body"].read()
        everywhere[f"s3 {key}"] = body.decode("utf-8", "replace")
    for host in hosts[:-1]:
        for path in host.path("/tmp/ray").glob("session_2*/logs/**/*"):
            if path.is_file():
                everywhere[f"{host.name} {path.name}"] = path.read_text(errors="replace")
    return Sent(told, everywhere, "\n".join(lines))


def runs_of(server: TrackingServer) -> list[dict[str, Any]]:
    """Every run of the job with its tags and params."""

    def ask(path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{server.uri}/api/2.0/mlflow/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    found = ask("experiments/search", filter="name = 'sent'", max_results=100)["experiments"]
    ids = [experiment["experiment_id"] for experiment in found]
    runs: list[dict[str, Any]] = ask("runs/search", experiment_ids=ids, max_results=100)["runs"]
    return runs


@with_token
def test_the_job_is_done_where_nothing_of_ours_was(
    sent: Sent, s3: ObjectStorage, mlflow_server: TrackingServer
) -> None:
    """Spec, data, teacher and code came from the laptop; results are in S3, runs in MLflow."""
    assert sent.told["status"] == "SUCCEEDED"
    assert sent.told["exit_code"] == 0
    job = sent.told["id"].removesuffix("-1")
    results = json.loads(sent.everywhere[f"s3 sent/jobs/{job}/results.json"])
    assert results["job"]["status"] == "done"
    assert [trial["status"] for trial in results["trials"]] == ["done"]
    tags = [
        {tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs_of(mlflow_server)
    ]
    assert len(tags) == 2
    versions = {tag.get("flexkd.version.flexkd") for tag in tags} - {None}
    assert versions == {version("flexkd")}
    assert "ada" in json.dumps(tags), "whoever submitted, not whoever runs the head"
    (entry,) = json.loads(sent.everywhere["Ray's table of jobs"])[:1]
    assert entry["metadata"]["flexkd.user"] == "ada"


@with_token
def test_no_secret_is_anywhere(sent: Sent, ray_hosts: RayHosts, s3: ObjectStorage) -> None:
    secrets = {
        "the cluster's token": secret_of(ray_hosts),
        "the storage's key": s3.env["AWS_SECRET_ACCESS_KEY"],
        **OURS,
    }
    places = {**sent.everywhere, "command lines": sent.lines}
    found = [
        (what, place)
        for place, text in places.items()
        for what, secret in secrets.items()
        if secret in text
    ]
    assert found == []
    # What has to be there is: the places were looked at while and after the job ran.
    assert "flexkd_platform.cli run spec.yaml" in sent.lines
    assert "flexkd_platform.cli submit" in sent.lines
    assert sent.told["spec_hash"] in sent.everywhere["Ray's table of jobs"]
    assert any("report/index.html" in place for place in places)
    assert any(place.startswith("worker-1 ") for place in places)


@with_token
def test_a_machine_outside_is_sent_to_submit(ray_hosts: RayHosts, laptop: Host) -> None:
    """A driver needs a node of the cluster beneath it."""
    env = environment(
        RAY_AUTH_TOKEN=secret_of(ray_hosts),
        # So long, a minute unless told otherwise, Ray looks for a node beneath it.
        RAY_gcs_server_request_timeout_seconds="10",
    )
    argv = flexkd("run", "spec.yaml", "--storage", "/tmp/home/storage", "--address")
    done = laptop.run([*argv, ray_hosts.address], env, check=False)
    assert done.returncode == 2
    assert f"no Ray cluster can be joined at '{ray_hosts.address}'" in done.stderr
    assert "from a machine outside the cluster, flexkd submit" in done.stderr
    done = laptop.run([*argv, ray_hosts.address], environment(), check=False)
    assert done.returncode == 2
    assert "is in token mode, and no token was found here" in done.stderr


@with_token
def test_a_driver_on_a_node_brings_its_code_to_the_others(
    ray_hosts: RayHosts, make_host: MakeHost, laptop: Host, s3: ObjectStorage
) -> None:
    """`flexkd run --address` on the one node that has our code."""
    desk = make_host("desk", checkout=True)
    desk.write("/tmp/home/.ray/auth_token", secret_of(ray_hosts), mode=0o600)
    for split in ("train", "validation", "test"):
        path = f"/tmp/home/reviews/{split}.jsonl"
        desk.write(path, laptop.path(path).read_bytes())
    desk.write("/tmp/home/spec.yaml", FINE_TUNED)
    ray_hosts.join(desk)
    ray_hosts.wait_for_nodes(4)
    argv = flexkd("run", "spec.yaml", "--storage", s3.uri("joined"), "--tracking-uri", "none")
    done = desk.run([*argv, "--address", ray_hosts.address], environment(**s3.env))
    assert "ft seed 20: done" in done.stdout
    # Its node has one CPU: a second trial at the same time runs where no code of ours was.
    assert "2 trials to run, 4 at a time" in done.stdout
    ray_hosts.kill(desk)
    ray_hosts.wait_for_nodes(3)


@with_token
def test_a_head_that_is_gone_while_it_is_followed(
    ray_hosts: RayHosts, laptop: Host, sent: Sent
) -> None:
    """The cable is pulled: nobody closes a connection, and nothing answers any more."""
    script = (
        "import sys\n"
        "from flexkd_platform.submission import logs, ray_client, ray_jobs\n"
        "logs.QUIET_SECONDS = 2.0\n"
        "def follow(*given):\n"
        "    for piece in logs.follow(*given, patience=4.0):\n"
        "        if 'begun' in piece:  # until then, a busy head may take longer\n"
        "            ray_client.REQUEST_SECONDS = (2, 5)\n"
        "        yield piece\n"
        "ray_jobs.follow = follow\n"
        "from flexkd_platform.cli.app import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    env = environment(RAY_AUTH_TOKEN=secret_of(ray_hosts))
    body = {
        "entrypoint": "echo begun; sleep 600",
        "submission_id": "left-12345678-1",
        "metadata": {"flexkd.spec_hash": "0", "flexkd.job": "left-12345678"},
    }
    tell(ray_hosts, "/api/jobs/", body)
    argv = ["jobs", "logs", "left-12345678-1", "--follow", "--address", ray_hosts.dashboard]
    process = laptop.start([sys.executable, "-c", script, *argv], env)
    process.wait_until(lambda: "begun" in process.tail())
    laptop.cut()
    assert process.wait() == 1
    assert f"lost {ray_hosts.dashboard}" in process.tail()
    assert "the final status of left-12345678-1 is unknown" in process.tail()
    tell(ray_hosts, "/api/jobs/left-12345678-1/stop", {})
