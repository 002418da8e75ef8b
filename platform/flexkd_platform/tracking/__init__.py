"""Tracking: jobs and trials recorded in MLflow, as a projection of the artifact store.

`open_tracker` returns the `Tracker` for a URI, `check_tracking` reports the problems of a URI in
advance, and `read_trials` reads recorded trials of all users. MLflow is imported on first use.
"""

from .connection import logs_system_metrics
from .links import TrackedJob
from .mlflow_tracker import MlflowTracker
from .no_tracker import NoTracker
from .opening import (
    TRACKING_OPTION,
    absolute_uri,
    check_experiment,
    check_form,
    check_tracking,
    default_uri,
    open_tracker,
)
from .progress import Progress
from .query import Recorded, read_recorded, read_trials
from .records import (
    SYMBOLS,
    DatasetRecord,
    JobRecord,
    JobStatus,
    Json,
    StepMetrics,
    StoredStudent,
    TrialRecord,
    TrialStatus,
    group_key,
    params_text,
)
from .redaction import shown_uri
from .registry import RegistryError
from .resilient import ResilientTracker
from .run_source import UnreadableStoreError
from .selecting import Names, is_result, matching, task_label
from .tracker import Tracker
from .where import Comparison as Condition
from .where import parse_where

__all__ = [
    "SYMBOLS",
    "DatasetRecord",
    "JobRecord",
    "JobStatus",
    "Json",
    "MlflowTracker",
    "Names",
    "NoTracker",
    "Progress",
    "Recorded",
    "RegistryError",
    "ResilientTracker",
    "StepMetrics",
    "StoredStudent",
    "TrackedJob",
    "Tracker",
    "TrialRecord",
    "TRACKING_OPTION",
    "TrialStatus",
    "UnreadableStoreError",
    "logs_system_metrics",
    "absolute_uri",
    "check_form",
    "check_experiment",
    "check_tracking",
    "default_uri",
    "open_tracker",
    "params_text",
    "Condition",
    "group_key",
    "is_result",
    "matching",
    "parse_where",
    "read_recorded",
    "read_trials",
    "shown_uri",
    "task_label",
]
