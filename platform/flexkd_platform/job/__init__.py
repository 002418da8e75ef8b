"""One job from its checks to its results: what the command line calls."""

from .comparison import Group, group_trials, to_json
from .folder import JobFolder
from .preflight import Preflight
from .query import JobFiles, find_job
from .results import JobState, Outcome, StepOutcome, results_json
from .runner import plan_json, pruned_before, run_job
from .searching import nothing_left, search_json
from .tables import leaderboard
from .view import View

__all__ = [
    "Group",
    "JobFiles",
    "JobFolder",
    "JobState",
    "Outcome",
    "Preflight",
    "StepOutcome",
    "View",
    "find_job",
    "group_trials",
    "leaderboard",
    "nothing_left",
    "plan_json",
    "pruned_before",
    "results_json",
    "run_job",
    "search_json",
    "to_json",
]
