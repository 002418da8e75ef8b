"""Run one job, from its plan to its results; called by the command line."""

from .results_json import (
    JobState,
    Outcome,
    StepOutcome,
    no_worse_than_teacher,
    results_json,
    teacher_json,
)
from .run import plan_json, pruned_before, run_job
from .view import View

__all__ = [
    "JobState",
    "Outcome",
    "StepOutcome",
    "View",
    "no_worse_than_teacher",
    "plan_json",
    "pruned_before",
    "results_json",
    "run_job",
    "teacher_json",
]
