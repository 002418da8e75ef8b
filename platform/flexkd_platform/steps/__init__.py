"""The steps: functions from artifacts and a config to one artifact.

They are independent of Ray and MLflow: an executor calls them, here or on another machine. `RUN` is
the table of functions; the kinds and configs are in `plan/kinds/`.
"""

from .chunked_pass import ChunkDone, ChunkedPass
from .context import Output, RunContext
from .generation_pass import GenerationPass
from .passes import passes
from .run import execute, run_step, run_trial
from .table import RUN, StepFunction, register_step
from .teacher_pass import ScoringPass

__all__ = [
    "RUN",
    "StepFunction",
    "register_step",
    "execute",
    "run_step",
    "run_trial",
    "Output",
    "RunContext",
    "ChunkDone",
    "ChunkedPass",
    "GenerationPass",
    "ScoringPass",
    "passes",
]
