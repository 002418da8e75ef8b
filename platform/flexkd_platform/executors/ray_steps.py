"""A step on its Ray worker. In a module of its own: a worker imports neither Tune nor Ray Data."""

from __future__ import annotations

from collections.abc import Iterator

from ..plan import Step
from ..spec import Resources
from ..steps import run_step
from ..store import open_store
from ..tracking import Progress
from .work import StepError, failure_of


def run_step_on_ray(step: Step, uri: str, resources: Resources) -> Iterator[Progress | StepError]:
    """Run a step; yields its progress, and at the end its failure if it has one."""
    try:
        yield from run_step(
            step,
            open_store(uri),
            resources.teacher_cpus,
            resources.checkpoint_steps,
            spread_teacher=resources.spreads_teacher,
        )
    except Exception as error:  # a task's error loses its type and message on the way
        yield failure_of(error)
