"""What KubeRay takes, as a JSON schema written from its API reference (ray.io/v1, KubeRay 1.6).

It is not the CRD: that is a megabyte, most of it Kubernetes' own pod template. It has the fields
that this project uses and refuses every other one, so that a name that is misspelt is found; pod
templates are checked by Kubernetes' own schema instead, with `pod_template_problems`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate

KUBERNETES = "1.31"

_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
_LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$"
_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_COUNT = {"type": "integer", "minimum": 0}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": fields,
    }


def _kind(kind: str, longest: int, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {
        "type": "object",
        "patternProperties": {_LABEL_KEY: {"type": "string", "pattern": _LABEL_VALUE}},
        "additionalProperties": False,
    }
    metadata = _object(
        ("name",),
        name={"type": "string", "pattern": _NAME, "maxLength": longest},
        namespace={"type": "string", "pattern": _NAME},
        labels=labels,
        annotations=_TEXTS,
    )
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


CLUSTER = _object(
    ("rayVersion", "headGroupSpec", "authOptions"),
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=_object(("mode",), mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=_object(
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        idleTimeoutSeconds=_COUNT,
        resources={"type": "object"},
        securityContext={"type": "object"},
    ),
    headGroupSpec=_object(
        ("rayStartParams", "template"),
        serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        rayStartParams=_TEXTS,
        template={"type": "object"},
    ),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
            groupName={"type": "string", "pattern": _NAME},
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            rayStartParams=_TEXTS,
            template={"type": "object"},
        ),
    },
)
RAY_CLUSTER = _kind("RayCluster", 53, CLUSTER)
"""Longer names would be cut in the names of the cluster's services."""
RAY_JOB = _kind(
    "RayJob",
    47,
    _object(
        ("entrypoint", "rayClusterSpec"),
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        entrypoint={"type": "string", "minLength": 1},
        metadata=_TEXTS,
        backoffLimit=_COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=_COUNT,
        submitterPodTemplate={"type": "object"},
        rayClusterSpec=CLUSTER,
    ),
)


def problems(manifest: dict[str, Any]) -> list[str]:
    """All that KubeRay or Kubernetes would have against a manifest."""
    kind = manifest.get("kind")
    if kind not in {"RayCluster", "RayJob"}:
        return _core_problems(manifest)
    schema = RAY_CLUSTER if kind == "RayCluster" else RAY_JOB
    found = [
        f"{error.json_path}: {error.message}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    ]
    return found or [*_operator_problems(manifest["spec"]), *_template_problems(manifest["spec"])]


def templates(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template of a RayJob's or RayCluster's spec, with what it is for."""
    if "submitterPodTemplate" in spec:
        yield "submitter", spec["submitterPodTemplate"]
    cluster = spec.get("rayClusterSpec", spec)
    yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster.get("workerGroupSpecs", []):
        yield group["groupName"], group["template"]


def _operator_problems(spec: dict[str, Any]) -> Iterator[str]:
    """What the operator refuses beyond the types of fields."""
    if spec.get("ttlSecondsAfterFinished") and not spec.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished without shutdownAfterJobFinishes"
    for group in spec.get("rayClusterSpec", spec).get("workerGroupSpecs", []):
        least, most = group["minReplicas"], group["maxReplicas"]
        if not least <= group.get("replicas", least) <= most:
            yield f"{group['groupName']}: replicas are not between {least} and {most}"


def _template_problems(spec: dict[str, Any]) -> Iterator[str]:
    for name, template in templates(spec):
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {}, "template": template}
        yield from (f"{name}: {problem}" for problem in _core_problems(wrapped))
        pod = template["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            if mounted - volumes:
                yield f"{name}: no volume for {sorted(mounted - volumes)}"
            for limits in container["resources"].values():
                for quantity in limits.values():
                    if not re.fullmatch(r"\d+(m|[KMGT]i?)?", str(quantity)):
                        yield f"{name}: {quantity!r} is no quantity"


def _core_problems(manifest: dict[str, Any]) -> list[str]:
    """What Kubernetes' own schema, which takes no unknown field, has against an object."""
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message[:200]}"]
    return []
