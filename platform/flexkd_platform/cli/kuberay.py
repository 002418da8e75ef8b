"""`flexkd submit --kuberay --dry-run`: print the job as Kubernetes objects for `kubectl`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from ..spec import FilesSource, JobSpec, Mixture, PretrainedInit, Problem, SpecError, spec_with
from ..store import StoreError, absolute_location
from ..submission.kuberay import PodOptions as PodOptions
from ..submission.kuberay import ray_job
from ..tracking import check_form
from ..tracking.provenance import current_user, versions
from .common import read_spec
from .run import spec_text
from .uris import secret_problems

MOST_BYTES = 900_000
"""Maximum size of a spec: Kubernetes limits a ConfigMap to 1 MiB."""

_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_MEMORY = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti|M|G|T)")


def show_ray_job(
    spec_path: Path,
    overrides: list[str],
    *,
    storage: str,
    tracking: str,
    pods: PodOptions,
    kuberay: bool,
    dry_run: bool,
    waiting: bool,
    as_json: bool,
) -> int:
    """Print the ConfigMap and the RayJob; as one JSON List with `--json`.

    Raises:
        SpecError: pods could not reach a resource, or options are incompatible.
    """
    if not kuberay:
        message = "--dry-run and pod options require --kuberay"
        remedy = "add --kuberay; `flexkd plan` shows what a job would do elsewhere"
        raise SpecError([Problem("--kuberay", message, remedy)])
    found = [
        *([] if dry_run else [_only_printed(spec_path)]),
        *([_not_waiting()] if waiting else []),
        *_option_problems(pods),
        *_storage_problems(storage),
        *_tracking_problems(tracking),
    ]
    spec = read_spec(spec_path, overrides, found)
    text = spec_text(spec)
    found += [*_local_problems(spec), *_size_problems(text)]
    if found:
        raise SpecError(found, str(spec_path))
    if not pods.image:
        pods = replace(pods, image=_default_image(spec))
    objects = ray_job(
        spec,
        text,
        storage=storage.rstrip("/"),
        tracking=tracking,
        options=pods,
        user=current_user(),
    )
    if as_json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    else:
        print(yaml.dump_all(objects, Dumper=_Readable, sort_keys=False, allow_unicode=True), end="")
    return 0


def _default_image(spec: JobSpec) -> str:
    """The image built by `docker/Dockerfile` for this version."""
    tag = versions().get("flexkd", "latest")
    gpus = spec.resources.trial_gpus or spec.resources.gpus_of_teacher
    return f"flexkd:{tag}-cuda" if gpus else f"flexkd:{tag}"


def _only_printed(spec_path: Path) -> Problem:
    command = f"flexkd submit {spec_path} --kuberay --dry-run … | kubectl create -f -"
    return Problem("--kuberay", "flexkd prints manifests, kubectl creates them", f"`{command}`")


def _not_waiting() -> Problem:
    remedy = "leave it out; `kubectl logs --follow job/NAME` shows the log of a RayJob"
    return Problem("--wait, --force", "a printed manifest has no log and no other runs", remedy)


def _option_problems(pods: PodOptions) -> list[Problem]:
    checks = [
        ("--image", pods.image, _IMAGE, "give it as registry/name:tag"),
        ("--namespace", pods.namespace, _NAMESPACE, "lower-case letters, digits and hyphens"),
        ("--secret", pods.secret, _OBJECT, "lower-case letters, digits, hyphens and dots"),
        ("--worker-memory", pods.worker_memory, _MEMORY, "a whole number and a unit, as 16Gi"),
    ]
    return [
        Problem(option, f"{given!r} is not allowed here", remedy)
        for option, given, pattern, remedy in checks
        if given and not pattern.fullmatch(given)
    ]


def _storage_problems(storage: str) -> list[Problem]:
    if "://" not in storage or storage.startswith("file:"):
        message = f"{storage} is a local folder and not reachable from pods"
        return [Problem("--storage", message, "name a bucket that the pods reach, as s3://bucket")]
    if secrets := _secrets("--storage", storage, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        return secrets
    try:
        absolute_location(storage)
    except StoreError as error:
        return [Problem("--storage", str(error), "name a bucket, as s3://bucket/…")]
    return []


def _tracking_problems(tracking: str) -> list[Problem]:
    remedy = "name an MLflow server that the pods reach, as http://mlflow:5000; or none"
    if not tracking:
        message = "missing: without it runs are recorded in a file next to the storage"
        return [Problem("--tracking-uri", message, remedy)]
    scheme = tracking.partition(":")[0].split("+")[0]
    if tracking != "none" and ("://" not in tracking or scheme in {"file", "sqlite"}):
        message = f"{tracking} is a local file and not reachable from pods"
        return [Problem("--tracking-uri", message, remedy)]
    variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return _secrets("--tracking-uri", tracking, variables) or check_form(tracking)


def _secrets(option: str, uri: str, variables: str) -> list[Problem]:
    remedy = f"leave it out, and put {variables} into the Secret that --secret names"
    return secret_problems(option, uri, remedy, "the manifest would show")


def _size_problems(text: str) -> list[Problem]:
    size = len(text.encode())
    if size <= MOST_BYTES:
        return []
    message = f"the spec has {size:,} bytes, and a ConfigMap takes {MOST_BYTES:,}"
    return [Problem("", message, "split the sweep into several jobs")]


def _local_problems(spec: JobSpec) -> list[Problem]:
    """The local files that the spec or one of its axes names: the image does not contain them."""
    problems = list(_local_names(spec))
    known = {problem.path for problem in problems}
    for path, values in spec.sweep.axes.items():
        for place, value in enumerate(values):
            problems += [
                Problem(f"sweep.axes[{path!r}][{place}]", problem.message, problem.remedy)
                for problem in _local_names(spec_with(spec, {path: value}))
                if problem.path not in known
            ]
    return problems


def _local_names(spec: JobSpec) -> Iterator[Problem]:
    sources = {"task.data": spec.task.data} | {
        f"task.evaluation.{name}": source for name, source in spec.task.evaluation.items()
    }
    if isinstance(spec.task.data, Mixture):
        sources |= {f"task.data.parts.{name}": part for name, part in spec.task.data.parts.items()}
    for path, source in sources.items():
        if isinstance(source, FilesSource):
            yield Problem(
                f"{path}.path",
                f"{source.path} is local and not reachable from pods",
                "use a data set of the hub; without --kuberay, flexkd submit uploads files",
            )
    models = {"teacher.model": spec.teacher.model}
    if isinstance(spec.student.init, PretrainedInit):
        models["student.init.model"] = spec.student.init.model
    models["evaluate.bertscore_model"] = spec.evaluate.bertscore_model
    for path, model in models.items():
        if isinstance(model, str) and _is_local(model):
            yield Problem(
                path,
                f"{model} is a local folder and not reachable from pods",
                "name a model of the hub, or package:NAME for one that the image contains",
            )


def _is_local(model: str) -> bool:
    return model.startswith(("/", "./", "../", "~")) or Path(model).expanduser().exists()


class _Readable(yaml.SafeDumper):
    """Dumps multi-line strings as block scalars, and no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Readable, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)
