"""Register methods, logit losses and tasks of other packages.

The models of a spec are built once, from the built-in methods, losses and tasks. Registering
another one updates these models in place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, Union, get_args

from pydantic import Field

from . import schema
from .evaluate import Evaluate
from .job import JobSpec, Published
from .methods import LOGIT_TERMS, METHODS, LogitTerm, MethodSettings
from .scheduler import Asha
from .search import OptunaSearch
from .sweep import Sweep
from .task import TASK_KINDS, TaskKind

MethodT = TypeVar("MethodT", bound=type[MethodSettings])
TermT = TypeVar("TermT", bound=type[LogitTerm])
TaskT = TypeVar("TaskT", bound=type[TaskKind])


def register_method(method: MethodT) -> MethodT:
    """Class decorator: make a method available in specs.

    The class needs a field `kind: Literal["<name>"]` and a class attribute `version`, which is part
    of the steps' hashes: increment it when results change. A feature method names its loss in
    `feature_loss`; register a new loss with `flexkd_core.register_feature_loss`.

    Raises:
        ValueError: another method has this name.
    """
    _add(METHODS, _kind_of(method), method, "method")
    _rebuild()
    return method


def register_logit_loss(term: TermT) -> TermT:
    """Class decorator: make a logit loss available to feature methods, which weight it by β.

    The class needs a field `kind: Literal["<name>"] = "<name>"` and a class attribute `version`.
    Register the function under the same name with `flexkd_core.register_class_loss`.

    Raises:
        ValueError: another loss has this name.
    """
    _add(LOGIT_TERMS, _kind_of(term), term, "logit loss")
    _rebuild()
    return term


def register_task(task: TaskT) -> TaskT:
    """Class decorator: make a task available in specs.

    The class inherits from the task whose data format it uses: `ClassificationTask`,
    `MultilabelTask`, `RegressionTask`, `InstructionTask` or `SummarizationTask`. It needs a field
    `kind: Literal["<name>"]`, a class attribute `version` to increment when results change, and
    those class attributes of `TaskKind` that differ. Its `head` names the supervised loss and the
    metrics; register a new head with `flexkd_platform.tasks.register_head`.

    Raises:
        ValueError: another task has this name.
    """
    _add(TASK_KINDS, _kind_of(task), task, "task")
    _rebuild()
    return task


def _kind_of(section: type[Any]) -> str:
    return str(get_args(section.model_fields["kind"].annotation)[0])


def _add(table: dict[str, Any], name: str, section: type[Any], what: str) -> None:
    if table.setdefault(name, section) is not section:
        raise ValueError(f"the {what} {name!r} is already registered; use another name")


def _rebuild() -> None:
    """Rebuild the models of a spec so that they accept every entry of the tables."""
    methods = _any_of(METHODS)
    names = Literal[tuple(METHODS)]  # type: ignore[valid-type]
    for method in METHODS.values():
        if "logit" in method.model_fields:
            _retype(method, logit=_any_of(LOGIT_TERMS))
    _retype(Sweep, methods=tuple[methods, ...], baseline=names | None)  # type: ignore[valid-type]
    _retype(Published, method=names)
    metric = Literal[tuple(dict.fromkeys(m for t in TASK_KINDS.values() for m in t.metrics))]  # type: ignore[valid-type]
    _retype(Evaluate, metrics=tuple[metric, ...])  # type: ignore[valid-type]
    _retype(Published, metric=metric)
    for chooser in (OptunaSearch, Asha):
        _retype(chooser, metric=metric | None)
    _retype(JobSpec, task=_any_of(TASK_KINDS))
    schema.forget()


def _any_of(table: dict[str, Any]) -> Any:
    return Annotated[Union[tuple(table.values())], Field(discriminator="kind")]  # noqa: UP007


def _retype(model: type[Any], **annotations: Any) -> None:
    for name, annotation in annotations.items():
        model.model_fields[name].annotation = annotation
    model.model_rebuild(force=True)
