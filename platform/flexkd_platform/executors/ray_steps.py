"""A step on its Ray worker. A separate module, so that workers import neither Tune nor Ray Data."""

from __future__ import annotations

from collections.abc import Iterator

from ..plan import Step
from ..spec import Resources
from ..steps import run_step
from ..store import open_store
from ..tracking import Progress
from .work import StepError, failure_of


def run_step_on_ray(step: Step, uri: str, resources: Resources) -> Iterator[Progress | StepError]:
    """Run a step; yields its progress, then a `StepError` if it failed."""
    try:
        yield from run_step(
            step,
            open_store(uri),
            resources.teacher_cpus,
            resources.checkpoint_steps,
            spread_teacher=resources.spreads_teacher,
        )
    except Exception as error:  # an error raised in a Ray task loses its type and message
        yield failure_of(error)
