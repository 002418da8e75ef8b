"""One job from its checks to its results: what the command line calls."""

from .comparison import Group, group_trials, to_json
from .folder import JobFolder
from .preflight import Preflight
from .query import JobFiles, find_job
from .results import JobState, Outcome, StepOutcome, results_json
from .runner import plan_json, run_job
from .searching import search_json
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
    "plan_json",
    "results_json",
    "run_job",
    "search_json",
    "to_json",
]
