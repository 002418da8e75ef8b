"""Results: groups of trials over seeds, their comparison, and the files of a finished job."""

from .boards import (
    by_task,
    kept_groups,
    leaderboards,
    metric_problems,
    ranking,
    recorded_metrics,
)
from .comparison import Group, group_trials, to_json
from .job_folder import JobFolder
from .order import View
from .overview import JobOverview, job_overview
from .printed import Leaderboard, printed
from .query import JobFiles, find_job
from .tables import leaderboard

__all__ = [
    "Group",
    "JobFiles",
    "JobFolder",
    "JobOverview",
    "Leaderboard",
    "View",
    "by_task",
    "find_job",
    "group_trials",
    "job_overview",
    "kept_groups",
    "leaderboard",
    "leaderboards",
    "metric_problems",
    "printed",
    "ranking",
    "recorded_metrics",
    "to_json",
]
