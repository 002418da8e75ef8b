"""Fill in the settings of methods whose default depends on the task."""

from __future__ import annotations

from typing import Any

from .methods import METHODS
from .task import TASK_KINDS

DEFAULT_TASK = "classification"


def with_task_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """A spec as plain values, with the defaults of its task in every method that leaves them out.

    Whatever is not a task or a method stays as it is: it is rejected later.
    """
    task, sweep = data.get("task", {}), data.get("sweep")
    kind = task.get("kind", DEFAULT_TASK) if isinstance(task, dict) else None
    if not isinstance(sweep, dict) or not isinstance(sweep.get("methods"), list):
        return data
    if not isinstance(kind, str) or kind not in TASK_KINDS:
        return data
    methods = [_filled(method, kind) for method in sweep["methods"]]
    return {**data, "sweep": {**sweep, "methods": methods}}


def _filled(method: Any, task: str) -> Any:
    name = method.get("kind") if isinstance(method, dict) else None
    settings = METHODS.get(name) if isinstance(name, str) else None
    if settings is None:
        return method
    names = {field.alias: key for key, field in settings.model_fields.items() if field.alias}
    missing = {
        key: value
        for key, value in settings.task_defaults(task).items()
        if key not in method and names.get(key) not in method
    }
    return {**method, **missing}
