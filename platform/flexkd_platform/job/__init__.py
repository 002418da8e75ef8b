"""Run one job, from its plan to its results; called by the command line."""

from .results_json import JobState, Outcome, StepOutcome, results_json
from .run import plan_json, pruned_before, run_job
from .view import View

__all__ = [
    "JobState",
    "Outcome",
    "StepOutcome",
    "View",
    "plan_json",
    "pruned_before",
    "results_json",
    "run_job",
]
