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
from .costs import GroupCost, front, group_costs
from .disagreement import (
    ClassCounts,
    Confusion,
    Disagreement,
    class_counts,
    confusion,
    disagreements,
)
from .job_folder import JobFolder
from .lineage import Lineage, lineage_of, teacher_of
from .order import View
from .outputs import GroupOutputs, evaluated_sets, example_rows, group_outputs, inputs_of
from .overview import JobOverview, job_overview
from .printed import Leaderboard, printed
from .query import JobFiles, find_job
from .tables import leaderboard

__all__ = [
    "ClassCounts",
    "Confusion",
    "Disagreement",
    "Group",
    "GroupCost",
    "GroupOutputs",
    "JobFiles",
    "JobFolder",
    "JobOverview",
    "Leaderboard",
    "Lineage",
    "View",
    "by_task",
    "class_counts",
    "confusion",
    "disagreements",
    "evaluated_sets",
    "example_rows",
    "find_job",
    "front",
    "group_costs",
    "group_outputs",
    "group_trials",
    "inputs_of",
    "job_overview",
    "kept_groups",
    "leaderboard",
    "leaderboards",
    "lineage_of",
    "metric_problems",
    "printed",
    "ranking",
    "recorded_metrics",
    "teacher_of",
    "to_json",
]
