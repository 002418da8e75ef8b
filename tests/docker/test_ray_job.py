"""`flexkd submit --kuberay --dry-run`: what KubeRay takes, the spec whole, nothing secret."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from flexkd_platform.cli.app import main
from flexkd_platform.spec import JobSpec, load_spec, spec_with
from flexkd_platform.submission.kuberay import label_value, object_name

from .conftest import ROOT
from .kuberay_schema import problems, templates

JOBS = sorted((ROOT / "jobs").rglob("*.yaml"))
QUICKSTART = ROOT / "jobs" / "quickstart.yaml"
STORAGE, TRACKING = "s3://flexkd/team", "http://mlflow:5000"


class Request:
    """`flexkd submit --kuberay` on a spec, its output parsed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *more: str, spec: Path = QUICKSTART) -> tuple[int, str, str]:
        code = main(["submit", str(spec), *more])
        out, err = self._capsys.readouterr()
        return code, out, " ".join(err.split())

    def objects(
        self, *more: str, spec: Path = QUICKSTART, storage: str = STORAGE
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The ConfigMap and the RayJob that are printed."""
        where = ["--storage", storage, "--tracking-uri", TRACKING]
        code, out, err = self.run("--kuberay", "--dry-run", *where, *more, spec=spec)
        assert (code, err) == (0, "")
        spec_map, job = yaml.safe_load_all(out)
        return spec_map, job

    def refused(
        self, *more: str, storage: str = STORAGE, tracking: str = TRACKING, dry_run: bool = True
    ) -> str:
        """What is said of a request that is not done."""
        where = ["--storage", storage, *(["--tracking-uri", tracking] if tracking else [])]
        code, out, err = self.run("--kuberay", *(["--dry-run"] if dry_run else []), *where, *more)
        assert (code, out) == (2, "")
        assert "nothing was started" in err
        return err


@pytest.fixture
def kuberay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Request:
    for name in ("MLFLOW_TRACKING_URI", "FLEXKD_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    return Request(capsys)


def sweep(folder: Path, change: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(QUICKSTART.read_text(encoding="utf-8").replace("name: quickstart", change))
    return path


@pytest.mark.parametrize("spec", JOBS, ids=lambda path: path.stem)
def test_kuberay_takes_every_job_of_ours(kuberay: Request, spec: Path) -> None:
    if '"source": "files"' in json.dumps(yaml.safe_load(spec.read_text(encoding="utf-8"))):
        where = ["--storage", STORAGE, "--tracking-uri", TRACKING]
        code, _, err = kuberay.run("--kuberay", "--dry-run", *where, spec=spec)
        assert code == 2
        assert "is local and not reachable from pods" in err
        return
    for manifest in kuberay.objects("--secret", "flexkd-credentials", spec=spec):
        assert problems(manifest) == []


def test_the_job_runs_the_very_spec(kuberay: Request, tmp_path: Path) -> None:
    spec_map, job = kuberay.objects("--set", "distill.epochs=3", "--namespace", "team")
    asked = load_spec(QUICKSTART, ["distill.epochs=3"])
    file = tmp_path / "spec.yaml"
    file.write_text(spec_map["data"]["spec.yaml"], encoding="utf-8")
    assert load_spec(file) == asked
    command = shlex.split(job["spec"]["entrypoint"])
    assert command[:3] == ["flexkd", "run", "/etc/flexkd/spec.yaml"]
    assert command[3:] == [
        *("--address", "auto"),
        *("--storage", STORAGE),
        *("--tracking-uri", TRACKING),
    ]
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = [v for v in head["volumes"] if "configMap" in v]
    assert volume["configMap"]["name"] == spec_map["metadata"]["name"]
    mounts = {mount["mountPath"]: mount["name"] for mount in head["containers"][0]["volumeMounts"]}
    assert mounts["/etc/flexkd"] == volume["name"]
    assert {spec_map["metadata"]["namespace"], job["metadata"]["namespace"]} == {"team"}
    assert job["metadata"]["annotations"]["flexkd/spec-hash"] == asked.hash
    assert job["spec"]["metadata"]["flexkd.spec_hash"] == asked.hash


@pytest.mark.parametrize("user", ["ada", "$(AWS_SECRET_ACCESS_KEY)", "größe: 'x' $USER"])
def test_runs_are_recorded_under_whoever_submits(
    kuberay: Request, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """The driver is on the head. Kubernetes replaces $(NAME) in a value, and reads $$ as one $."""
    monkeypatch.setenv("FLEXKD_USER", user)
    _, job = kuberay.objects("--secret", "flexkd-credentials")
    assert problems(job) == []
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (variable,) = head["containers"][0]["env"]
    assert variable["name"] == "FLEXKD_USER"
    assert "$(" not in variable["value"].replace("$$", "")
    assert variable["value"].replace("$$", "$") == user


def test_uris_with_signs_of_the_shell_arrive_whole(kuberay: Request) -> None:
    storage = "s3://flexkd/team?endpoint_override=s3:7070&scheme=http"
    _, job = kuberay.objects(storage=storage)
    command = shlex.split(job["spec"]["entrypoint"])
    assert command[command.index("--storage") + 1] == storage


def test_the_same_request_prints_the_same(kuberay: Request) -> None:
    assert kuberay.objects() == kuberay.objects()


def test_json_is_a_list_that_kubectl_takes(kuberay: Request) -> None:
    where = ["--storage", STORAGE, "--tracking-uri", TRACKING]
    code, out, _ = kuberay.run("--kuberay", "--dry-run", "--json", *where)
    listed = json.loads(out)
    assert (code, listed["kind"], listed["apiVersion"]) == (0, "List", "v1")
    assert listed["items"] == list(kuberay.objects())


def test_pods_are_as_large_as_the_resources_say(kuberay: Request) -> None:
    _, job = kuberay.objects(
        *("--set", "resources.trial_workers={min: 2, max: 6}", "--set", "resources.trial_cpus=3"),
        *("--set", "resources.trial_gpus=1", "--worker-memory", "24Gi"),
    )
    assert problems(job) == []
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (2, 6)
    assert cluster["enableInTreeAutoscaling"] is True
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {
        "cpu": "3",
        "memory": "24Gi",
        "nvidia.com/gpu": "1",
    }
    assert container["image"].endswith("-cuda")
    _, job = kuberay.objects("--image", "registry.example/flexkd@sha256:" + "0" * 64)
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    images = {t["spec"]["containers"][0]["image"] for _, t in templates(job["spec"])}
    assert images == {"registry.example/flexkd@sha256:" + "0" * 64}


def test_only_the_head_of_an_autoscaled_cluster_may_ask_kubernetes(kuberay: Request) -> None:
    for change, allowed in (("2", False), ("{min: 1, max: 4}", True)):
        _, job = kuberay.objects("--set", f"resources.trial_workers={change}")
        tokens = {n: t["spec"]["automountServiceAccountToken"] for n, t in templates(job["spec"])}
        assert tokens == {"submitter": False, "head": allowed, "workers": False}


@pytest.mark.parametrize(
    "name",
    ["a", "9lives", "a" * 64, "with_under.dots", "ends-", "-".join("x" * 31), "1" * 64, "a.-_."],
)
def test_any_name_of_a_spec_gives_valid_objects(
    kuberay: Request, tmp_path: Path, name: str
) -> None:
    for manifest in kuberay.objects(spec=sweep(tmp_path, f'name: "{name}"')):
        assert problems(manifest) == []


def test_two_specs_get_two_names_and_the_same_one_the_same() -> None:
    spec = load_spec(QUICKSTART)
    other = spec_with(spec, {"distill.epochs": 7})
    assert object_name(spec) != object_name(other)
    wider = spec_with(spec, {"resources.score_workers": 9})
    assert object_name(spec) == object_name(wider), "where it runs is not what it is"
    long: JobSpec = spec_with(spec, {"name": "a" * 64})
    assert len(object_name(long)) == 47
    assert object_name(long).endswith(long.hash[:8])
    assert label_value(long.id).endswith(long.hash[:8])


def test_without_dry_run_it_says_how(kuberay: Request) -> None:
    told = kuberay.refused(dry_run=False)
    assert "--kuberay --dry-run … | kubectl create -f -" in told


@pytest.mark.parametrize("option", [["--dry-run"], ["--image", "a:1"], ["--namespace", "team"]])
def test_options_of_pods_need_kuberay(kuberay: Request, option: list[str]) -> None:
    code, out, err = kuberay.run(*option)
    assert (code, out) == (2, "")
    assert "add --kuberay" in err


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("flexkd-storage", "flexkd-storage is a local folder and not reachable from pods"),
        ("/mnt/shared", "is a local folder and not reachable from pods"),
        ("file:///mnt/shared", "is a local folder and not reachable from pods"),
        ("s3://key:hunter2@bucket/team", "AWS_SECRET_ACCESS_KEY into the Secret"),
        ("s3://bucket/team?secret_key=hunter2", "AWS_SECRET_ACCESS_KEY into the Secret"),
        ("s3://[bucket", "is not a usable storage"),
        ("ftp://bucket/team", "is not a usable storage"),
    ],
)
def test_storage_that_pods_do_not_reach_is_refused(
    kuberay: Request, storage: str, told: str
) -> None:
    found = kuberay.refused(storage=storage)
    assert told in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("tracking", "told"),
    [
        ("", "name an MLflow server"),
        ("sqlite:////tmp/mlflow.db", "is a local file and not reachable from pods"),
        ("mlruns", "is a local file and not reachable from pods"),
        ("https://me:hunter2@mlflow:5000", "MLFLOW_TRACKING_PASSWORD into the Secret"),
        ("postgresql://me:hunter2@db/mlflow", "the URI of postgresql://db contains a secret"),
        ("postgresql://me:hunter2/x@db/mlflow", "the URI of postgresql://db contains a secret"),
        ("postgresql://db/mlflow?user=me&password=hunter2", "contains a secret"),
        ("http://[mlflow", "is not a URI"),
        ("ftp://mlflow", "not a supported tracking store"),
    ],
)
def test_tracking_that_pods_do_not_reach_is_refused(
    kuberay: Request, tracking: str, told: str
) -> None:
    found = kuberay.refused(tracking=tracking)
    assert told in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("task.data={source: files, path: reviews/}", "task.data.path"),
        ("task.evaluation={more: {source: files, path: more.csv}}", "task.evaluation.more.path"),
        ("teacher.model=./teacher", "teacher.model"),
        ("teacher.model=/models/teacher", "teacher.model"),
        ("student.init={kind: pretrained, model: ~/student}", "student.init.model"),
        ("evaluate.bertscore_model=./encoder", "evaluate.bertscore_model"),
        ("evaluate.bertscore_model=/models/encoder", "evaluate.bertscore_model"),
        ("sweep.axes={teacher.model: [gpt2, /models/teacher]}", "sweep.axes['teacher.model'][1]"),
    ],
)
def test_what_lies_on_this_machine_is_refused(kuberay: Request, override: str, path: str) -> None:
    assert path in kuberay.refused("--set", override)


def test_a_folder_that_is_here_is_refused_by_whatever_name(
    kuberay: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "teacher").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "teacher.model" in kuberay.refused("--set", "teacher.model=teacher")
    _, job = kuberay.objects("--set", "teacher.model=org/teacher")
    assert problems(job) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--image", "no spaces:1"),
        ("--namespace", "Team"),
        ("--namespace", "-team"),
        ("--secret", "my secret"),
        ("--worker-memory", "lots"),
        ("--worker-memory", "16"),
    ],
)
def test_wrong_options_are_named(kuberay: Request, option: str, value: str) -> None:
    assert f"{option}: {value!r} is not allowed here" in kuberay.refused(option, value)


def test_all_that_is_wrong_is_said_at_once(kuberay: Request) -> None:
    told = kuberay.refused(
        *("--set", "teacher.model=/models/teacher", "--wait", "--namespace", "Team"),
        storage="here",
        tracking="",
    )
    assert "5 problems" in told


def test_a_spec_that_is_too_long_for_a_config_map_is_refused(
    kuberay: Request, tmp_path: Path
) -> None:
    seeds = ", ".join(map(str, range(1, 120_001)))
    path = tmp_path / "spec.yaml"
    text = QUICKSTART.read_text(encoding="utf-8")
    path.write_text(re.sub(r"seeds: \[.*\]", f"seeds: [{seeds}]", text), encoding="utf-8")
    where = ["--storage", STORAGE, "--tracking-uri", TRACKING]
    code, out, err = kuberay.run("--kuberay", "--dry-run", *where, spec=path)
    assert (code, out) == (2, "")
    assert "a ConfigMap takes 900,000" in err
