"""The steps: functions from artifacts and a config to one artifact.

They know nothing of Ray or MLflow: an executor calls them, here or on another machine.
"""

from .chunked_pass import ChunkDone, ChunkedPass
from .dataset import make_dataset, read_rows, split_rows
from .distill import make_student, read_log, read_log_file
from .evaluate import make_evaluation
from .generate import GenerationPass, read_responses
from .run import run_step, run_trial
from .scoring import ScoringPass, passes
from .select import make_selection, read_importance, read_units
from .teacher import load_teacher, make_teacher

__all__ = [
    "ChunkDone",
    "ChunkedPass",
    "GenerationPass",
    "ScoringPass",
    "load_teacher",
    "make_dataset",
    "make_evaluation",
    "make_selection",
    "make_student",
    "make_teacher",
    "passes",
    "read_importance",
    "read_log",
    "read_log_file",
    "read_responses",
    "read_rows",
    "read_units",
    "run_step",
    "run_trial",
    "split_rows",
]
