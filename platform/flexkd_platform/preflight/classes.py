"""Classes with few or all examples, and weights of classes in the supervised loss."""

from __future__ import annotations

from collections.abc import Iterator

from ..data import DataFacts, absent_classes, class_json, constant_classes, untaught_classes
from ..plan import ClassWeights
from ..spec import ClassificationTask, JobSpec, MultilabelTask, Problem

PATH = "task.class_weights"

HEADS = frozenset({"classes", "labels"})
"""Heads whose supervised loss accepts class weights."""


def class_weight_problems(spec: JobSpec, data: DataFacts | None) -> Iterator[Problem]:
    """The problems of `task.class_weights`."""
    task = spec.task
    if not isinstance(task, ClassificationTask | MultilabelTask) or task.class_weights == "none":
        return
    if task.head not in HEADS:
        message = f"the supervised loss of {task.kind} accepts no class weights"
        yield Problem(PATH, message, "leave it out")
    supervised = any(method.weights.supervised for method in spec.sweep.methods)
    if spec.teacher.finetune is None and not supervised:
        message = "no model is trained with a supervised loss, so this has no effect"
        yield Problem(PATH, message, "leave it out, or set lambda above 0 in a method")
    if data is None or isinstance(task.class_weights, str):
        return
    known = class_json(data)["classes"]
    for name in task.class_weights:
        if name not in known:
            message = f"{name!r} is no class of the data"
            yield Problem(f"{PATH}.{name}", message, f"name some of {', '.join(known)}")


def class_weights_of(spec: JobSpec, data: DataFacts) -> ClassWeights:
    """The weights by class; 1 for a class that the spec does not name."""
    task = spec.task
    if not isinstance(task, ClassificationTask | MultilabelTask):
        return "none"
    if isinstance(task.class_weights, str):
        return task.class_weights
    return tuple(task.class_weights.get(name, 1.0) for name in class_json(data)["classes"])


def count_warnings(spec: JobSpec, data: DataFacts) -> Iterator[Problem]:
    """Classes that a model cannot learn from the training examples."""
    task = spec.task
    path = "task.data.labels" if isinstance(task, MultilabelTask) else "task.data.label"
    if untaught := untaught_classes(data):
        message = f"no training example has the class {', '.join(untaught)}, which others have"
        yield Problem(path, message, "add examples to the train split")
    if not isinstance(task, MultilabelTask):
        return
    if constant := constant_classes(data):
        message = f"every training example has the class {', '.join(constant)}"
        yield Problem(path, message, "add examples without it, or leave the class out")
    absent = absent_classes(data)
    if absent and task.classes is None:
        message = f"no example has the class {', '.join(absent)}"
        yield Problem(path, message, "add examples, or leave the class out")
