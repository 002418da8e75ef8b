"""Results: groups of trials over seeds, their comparison, and the files of a finished job."""

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
from .outputs import GroupOutputs, evaluated_sets, example_rows, group_outputs, inputs_of
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
    "Leaderboard",
    "Lineage",
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
    "leaderboard",
    "lineage_of",
    "teacher_of",
    "printed",
    "to_json",
]
