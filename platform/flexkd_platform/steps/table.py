"""The function of each kind of step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..artifacts import Artifacts
from ..plan import StepKind, register_kind
from ..tracking import Progress
from . import (
    base,
    cache,
    dataset,
    distill,
    evaluate,
    generate,
    score,
    select,
    teacher,
    warm_up,
)
from .context import Output, RunContext

# A function takes its own kind's config, which the table cannot express: `Any`.
StepFunction = Callable[[Any, Artifacts, Output, RunContext], Iterator[Progress]]

RUN: dict[str, StepFunction] = {
    "dataset": dataset.run,
    "base": base.run,
    "teacher": teacher.run,
    "score": score.run,
    "cache": cache.run,
    "select": select.run,
    "generate": generate.run,
    "warm_up": warm_up.run,
    "distill": distill.run,
    "evaluate": evaluate.run,
}
"""By kind: makes the artifact of a step and publishes it, after a pass from all its chunks."""


def register_step(kind: StepKind, function: StepFunction) -> None:
    """Add a kind of step that another package defines, with its function.

    Call it in the module of the step's config, which a worker imports when it receives a step.

    Raises:
        ValueError: another kind has the name.
    """
    register_kind(kind)
    if RUN.setdefault(kind.name, function) is not function:
        raise ValueError(f"two functions run {kind.name!r} steps; rename one of the kinds")
