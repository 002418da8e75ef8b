"""A job as KubeRay takes it: a RayJob with a cluster of its own, and a ConfigMap with the spec.

Every retry of a RayJob is a new cluster. That is right here: what a job has done is in its storage,
and `flexkd run` does what is missing.
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
"""A Kubernetes object as it is in YAML."""

LONGEST_NAME = 47
"""Characters of a RayJob's name: KubeRay makes the names of a cluster and its services from it."""

LONGEST_LABEL = 63
"""Characters of a label's value."""

SPEC_FOLDER = "/etc/flexkd"
"""Where the head finds the spec."""

USER_ID = 10001
"""The user of our images. A number, since Kubernetes cannot tell that a name is not root."""

RETRIES = 1
"""New clusters after a failed one. A spec that is refused on the cluster fails each of them."""

KEPT_SECONDS = 300
"""How long the cluster of an ended job is there to be looked at."""

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
"""All that a container may write to, each an emptyDir that goes with its pod."""


@dataclass(frozen=True)
class PodOptions:
    """What a person says about the pods that a job gets.

    image: holds this project; "" is the image that `docker/Dockerfile` makes of this version.
    namespace: "" is whatever `kubectl` uses.
    secret: a Secret whose keys become environment variables, as AWS_ACCESS_KEY_ID; "" for none.
    worker_memory: of each worker pod, as Kubernetes writes it; "" is 8 GiB.
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
    """The ConfigMap and the RayJob of a spec, in the order they are created in.

    Args:
        spec: the job.
        spec_text: what `flexkd run` reads; the spec with its defaults, as YAML.
        storage, tracking: URIs that every pod can reach.
        options: image, namespace, secret, memory.
        user: who submits, and whose runs they are.
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

    Two specs get two names, and the same spec the same one: to create it again while it is there
    is an error.
    """
    digest = spec.hash[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", spec.name).strip("-")
    if not plain[:1].isalpha():
        plain = f"job-{plain}".strip("-")
    return f"{plain[: LONGEST_NAME - len(digest) - 1].rstrip('-')}-{digest}"


def label_value(text: str) -> str:
    """`text` as a label's value; what is too long loses its middle, since its end is a hash."""
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
    # The driver, which records the runs, is here. Kubernetes would replace a $(NAME).
    head["spec"]["containers"][0]["env"] = [{"name": USER, "value": user.replace("$", "$$")}]
    # The autoscaler beside the head asks Kubernetes for pods; nothing else needs to.
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
            # No CPU of the head is for tasks: a trial there would take the driver's memory.
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
    # Two minutes to start: an image of some gigabytes has to be read from a cold disk.
    container["startupProbe"] = {**check, "periodSeconds": 5, "failureThreshold": 24}
    container["readinessProbe"] = {**check, "periodSeconds": 10, "failureThreshold": 6}
    container["livenessProbe"] = {**check, "periodSeconds": 30, "failureThreshold": 10}
    return {"spec": {**_writable(container), "securityContext": POD_SECURITY}}


def _submitter(options: PodOptions) -> Manifest:
    """The pod that hands the job over and shows its log: `kubectl logs job/NAME`."""
    size = {"cpu": "500m", "memory": "1Gi"}
    container = _container("ray-job-submitter", size, options)
    pod = {**_writable(container), "securityContext": POD_SECURITY, "restartPolicy": "Never"}
    return {"spec": {**pod, "automountServiceAccountToken": False}}


def _container(name: str, size: Mapping[str, str], options: PodOptions) -> Manifest:
    return {
        "name": name,
        "image": options.image,
        "imagePullPolicy": "IfNotPresent",
        # Equal, so that Ray counts what the pod really has.
        "resources": {"requests": dict(size), "limits": dict(size)},
        "securityContext": CONTAINER_SECURITY,
    }


def _writable(container: Manifest) -> Manifest:
    """A pod of one container with the folders that it writes to."""
    mounts = [{"name": name, "mountPath": path} for name, path in WRITABLE.items()]
    return {
        "containers": [{**container, "volumeMounts": mounts}],
        "volumes": [{"name": name, "emptyDir": {}} for name in WRITABLE],
    }
