"""The table of step functions by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from ..artifacts import Artifacts
from ..plan import StepKind, register_kind
from ..tracking import Progress
from .context import Output, RunContext

# A function accepts the config of its own kind, which the table's type cannot express: `Any`.
StepFunction = Callable[[Any, Artifacts, Output, RunContext], Iterator[Progress]]


def _run_of(module: str) -> StepFunction:
    """The function `run` of a module of this package, which is imported with its first step.

    Several modules import transformers, which a command that runs none of their steps should not
    wait for.
    """

    def run(config: Any, inputs: Artifacts, out: Output, context: RunContext) -> Iterator[Progress]:
        function: StepFunction = import_module(f".{module}", __package__).run
        return function(config, inputs, out, context)

    return run


RUN: dict[str, StepFunction] = {
    kind: _run_of(kind)
    for kind in (
        "dataset",
        "base",
        "teacher",
        "score",
        "cache",
        "select",
        "generate",
        "warm_up",
        "distill",
        "evaluate",
    )
}
"""By kind: the function that creates and publishes an artifact (after a pass, from its chunks)."""


def register_step(kind: StepKind, function: StepFunction) -> None:
    """Register a kind of step that another package defines, with its function.

    Call this in the module of the step's config, which a worker imports when it receives a step.

    Raises:
        ValueError: another kind has the same name.
    """
    register_kind(kind)
    if RUN.setdefault(kind.name, function) is not function:
        raise ValueError(f"two functions run {kind.name!r} steps; rename one of the kinds")
