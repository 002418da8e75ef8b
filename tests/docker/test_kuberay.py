"""The manifests for KubeRay: what it takes, and what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import DOCKER
from .kuberay_schema import problems, templates

MANIFESTS = sorted((DOCKER / "kuberay").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return manifest


def test_there_is_a_cluster_and_a_job() -> None:
    assert [read(path)["kind"] for path in MANIFESTS] == ["RayCluster", "RayJob"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kuberay_takes_the_manifest(path: Path) -> None:
    assert problems(read(path)) == []


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_pod_is_closed_and_checked(path: Path) -> None:
    pods = list(templates(read(path)["spec"]))
    assert len(pods) >= 3
    for name, template in pods:
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp", "/home/flexkd"} <= mounted
        assert container["resources"]["requests"] == container["resources"]["limits"]
        if name == "submitter":
            continue
        role = "head" if name == "head" else "worker"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == ["flexkd-health", role]
        assert container["envFrom"] == [{"secretRef": {"name": "flexkd-credentials"}}]
        assert "env" not in container, "no secret is written into a manifest"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_cluster_asks_for_a_token_and_its_head_does_no_work(path: Path) -> None:
    spec = read(path)["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def _without_token(manifest: dict[str, Any]) -> None:
    manifest["spec"]["rayClusterSpec"]["authOptions"]["mode"] = "tokens"


def _misspelt(manifest: dict[str, Any]) -> None:
    manifest["spec"]["backofLimit"] = 1


def _misspelt_in_a_pod(manifest: dict[str, Any]) -> None:
    head = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    head["spec"]["containers"][0]["imagePulPolicy"] = "Always"


def _name_too_long(manifest: dict[str, Any]) -> None:
    manifest["metadata"]["name"] = "j" * 48


def _label_too_long(manifest: dict[str, Any]) -> None:
    manifest["metadata"]["labels"]["flexkd/spec-hash"] = "0" * 64


def _number_as_parameter(manifest: dict[str, Any]) -> None:
    manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0


def _kept_for_ever(manifest: dict[str, Any]) -> None:
    manifest["spec"]["shutdownAfterJobFinishes"] = False


def _volume_forgotten(manifest: dict[str, Any]) -> None:
    manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"].pop()


def _fewer_than_the_least(manifest: dict[str, Any]) -> None:
    manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] = 0


@pytest.mark.parametrize(
    "spoil",
    [
        _without_token,
        _misspelt,
        _misspelt_in_a_pod,
        _name_too_long,
        _label_too_long,
        _number_as_parameter,
        _kept_for_ever,
        _volume_forgotten,
        _fewer_than_the_least,
    ],
)
def test_what_is_wrong_is_found(spoil: Any) -> None:
    manifest = _unshared(read(DOCKER / "kuberay" / "rayjob.yaml"))
    assert problems(manifest) == []
    spoil(manifest)
    assert problems(manifest) != []


def _unshared(value: Any) -> Any:
    """A copy whose parts are its own: anchors of YAML are one object in many places."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value
