"""A job for KubeRay: a RayJob with its own cluster, and a ConfigMap with the spec.

Every retry of a RayJob creates a new cluster. This works since finished work is in the job's
storage, and `flexkd run` only runs what is missing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..spec import JobSpec
from ..tracking.provenance import USER
from .kuberay_workers import WorkerPods, worker_pods

Manifest = dict[str, Any]
"""A Kubernetes object, as in its YAML."""

LONGEST_NAME = 47
"""Maximum length of a RayJob's name: KubeRay derives the names of the cluster and its services."""

LONGEST_LABEL = 63
"""Maximum length of a label's value."""

SPEC_FOLDER = "/etc/flexkd"
"""Mount path of the spec in the head pod."""

USER_ID = 10001
"""The user of our images. A number, since Kubernetes cannot verify that a name is not root."""

RETRIES = 1
"""New clusters after a failed one. A spec that is rejected on the cluster fails on each of them."""

KEPT_SECONDS = 300
"""How long the cluster of an ended job is kept for inspection."""

WORKER_MEMORY = "8Gi"

HEAD_CPUS, HEAD_MEMORY = "2", "8Gi"
"""The head runs the driver and no worker of a trial."""

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
WRITABLE = {"tmp": "/tmp", "home": "/home/flexkd"}
"""The folders that a container may write to, each an emptyDir that is deleted with its pod."""


@dataclass(frozen=True)
class PodOptions:
    """User settings for the pods of a job.

    image: contains this project; "" is the image built by `docker/Dockerfile` for this version.
    namespace: "" is the default of `kubectl`.
    secret: a Secret whose keys become environment variables, for example AWS_ACCESS_KEY_ID; "" for
        none.
    worker_memory: of each worker pod, as a Kubernetes quantity; "" is 8 GiB.
    """

    image: str = ""
    namespace: str = ""
    secret: str = ""
    worker_memory: str = ""


def ray_job(
    spec: JobSpec,
    spec_text: str,
    *,
    storage: str,
    tracking: str,
    options: PodOptions,
    user: str,
) -> list[Manifest]:
    """The ConfigMap and the RayJob of a spec, in the order in which they are created.

    Args:
        spec: the job.
        spec_text: the input of `flexkd run`: the spec with its defaults, as YAML.
        storage, tracking: URIs that every pod can reach.
        options: image, namespace, secret, memory.
        user: the user who submits the job and owns its runs.
    """
    name = object_name(spec)
    metadata: Manifest = {
        "labels": {
            "app.kubernetes.io/name": "flexkd",
            "app.kubernetes.io/managed-by": "flexkd",
            "flexkd/job": label_value(spec.id),
            "flexkd/spec-hash": spec.hash[:16],
        },
        "annotations": {"flexkd/job": spec.id, "flexkd/spec-hash": spec.hash},
    }
    if options.namespace:
        metadata = {"namespace": options.namespace, **metadata}
    pods = worker_pods(spec.resources)
    entrypoint = ["flexkd", "run", f"{SPEC_FOLDER}/spec.yaml", "--address", "auto"]
    entrypoint += ["--storage", storage, "--tracking-uri", tracking]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _spec_map(name), **metadata},
            "data": {"spec.yaml": spec_text},
        },
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {"name": name, **metadata},
            "spec": {
                "submissionMode": "K8sJobMode",
                "entrypoint": shlex.join(entrypoint),
                "metadata": {"flexkd.spec_hash": spec.hash, "flexkd.user": user},
                "backoffLimit": RETRIES,
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": KEPT_SECONDS,
                "submitterPodTemplate": _submitter(options),
                "rayClusterSpec": _cluster(name, pods, options, user),
            },
        },
    ]


def object_name(spec: JobSpec) -> str:
    """A RayJob's name: a letter, then letters, digits and hyphens; it ends with the spec's hash.

    Different specs have different names, and the same spec has the same name: creating it while it
    exists is an error.
    """
    digest = spec.hash[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", spec.name).strip("-")
    if not plain[:1].isalpha():
        plain = f"job-{plain}".strip("-")
    return f"{plain[: LONGEST_NAME - len(digest) - 1].rstrip('-')}-{digest}"


def label_value(text: str) -> str:
    """`text` as a label's value. A long text is cut in the middle, since it ends with a hash."""
    if len(text) <= LONGEST_LABEL:
        return text
    tail = text[-9:]
    return text[: LONGEST_LABEL - len(tail)].rstrip("-._") + tail


def _spec_map(name: str) -> str:
    return f"{name}-spec"


def _cluster(name: str, pods: WorkerPods, options: PodOptions, user: str) -> Manifest:
    spec_volume = {"name": "spec", "configMap": {"name": _spec_map(name)}}
    spec_mount = {"name": "spec", "mountPath": SPEC_FOLDER, "readOnly": True}
    head = _pod("head", {"cpu": HEAD_CPUS, "memory": HEAD_MEMORY}, options)
    head["spec"]["volumes"].append(spec_volume)
    head["spec"]["containers"][0]["volumeMounts"].append(spec_mount)
    # The driver, which records the runs, is on the head. Kubernetes would expand $(NAME).
    head["spec"]["containers"][0]["env"] = [{"name": USER, "value": user.replace("$", "$$")}]
    # Only the autoscaler, which runs next to the head, needs access to the Kubernetes API.
    head["spec"]["automountServiceAccountToken"] = pods.elastic
    size = {"cpu": str(pods.cpus), "memory": options.worker_memory or WORKER_MEMORY}
    if pods.gpus:
        size["nvidia.com/gpu"] = str(pods.gpus)
    worker = _pod("worker", size, options)
    worker["spec"]["automountServiceAccountToken"] = False
    scaling: Manifest = {"enableInTreeAutoscaling": pods.elastic}
    if pods.elastic:
        scaling["autoscalerOptions"] = {
            "upscalingMode": "Default",
            "idleTimeoutSeconds": 60,
            "securityContext": CONTAINER_SECURITY,
        }
    return {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},
        **scaling,
        "headGroupSpec": {
            # No CPUs for tasks on the head: a trial there would use the driver's memory.
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
            "template": head,
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": pods.least,
                "minReplicas": pods.least,
                "maxReplicas": pods.most,
                "rayStartParams": {},
                "template": worker,
            }
        ],
    }


def _pod(role: str, size: Mapping[str, str], options: PodOptions) -> Manifest:
    container = _container(f"ray-{role}", size, options)
    if options.secret:
        container["envFrom"] = [{"secretRef": {"name": options.secret}}]
    check = {"exec": {"command": ["flexkd-health", role]}, "timeoutSeconds": 10}
    # Two minutes to start: an image of several gigabytes has to be read from a cold disk.
    container["startupProbe"] = {**check, "periodSeconds": 5, "failureThreshold": 24}
    container["readinessProbe"] = {**check, "periodSeconds": 10, "failureThreshold": 6}
    container["livenessProbe"] = {**check, "periodSeconds": 30, "failureThreshold": 10}
    return {"spec": {**_writable(container), "securityContext": POD_SECURITY}}


def _submitter(options: PodOptions) -> Manifest:
    """The pod that submits the job and prints its log: `kubectl logs job/NAME`."""
    size = {"cpu": "500m", "memory": "1Gi"}
    container = _container("ray-job-submitter", size, options)
    pod = {**_writable(container), "securityContext": POD_SECURITY, "restartPolicy": "Never"}
    return {"spec": {**pod, "automountServiceAccountToken": False}}


def _container(name: str, size: Mapping[str, str], options: PodOptions) -> Manifest:
    return {
        "name": name,
        "image": options.image,
        "imagePullPolicy": "IfNotPresent",
        # Equal, so that Ray counts the resources that the pod actually has.
        "resources": {"requests": dict(size), "limits": dict(size)},
        "securityContext": CONTAINER_SECURITY,
    }


def _writable(container: Manifest) -> Manifest:
    """A pod of one container with its writable folders."""
    mounts = [{"name": name, "mountPath": path} for name, path in WRITABLE.items()]
    return {
        "containers": [{**container, "volumeMounts": mounts}],
        "volumes": [{"name": name, "emptyDir": {}} for name in WRITABLE],
    }
