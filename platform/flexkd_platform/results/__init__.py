"""Results: groups of trials over seeds, their comparison, and the files of a finished job."""

from .comparison import Group, group_trials, to_json
from .job_folder import JobFolder
from .printed import Leaderboard, printed
from .query import JobFiles, find_job
from .tables import leaderboard

__all__ = [
    "Group",
    "JobFiles",
    "JobFolder",
    "Leaderboard",
    "find_job",
    "group_trials",
    "leaderboard",
    "printed",
    "to_json",
]
