"""The job spec: what a person writes, and what everything else reads.

`load_spec` reads YAML and reports every problem at once; `JobSpec` is the whole spec, and the
other names are its sections.
"""

from .distill import Distill
from .document import line_in
from .job import JobSpec, Published, Resources, Tracking
from .load import load_spec, spec_with
from .methods import (
    METHODS,
    CkaDistillation,
    FeatureMethod,
    FineTuning,
    FlexKd,
    LogitDistillation,
    Method,
    ProjectorDistillation,
)
from .problems import Problem, SpecError
from .schema import json_schema
from .score import Score
from .section import Section, canonical_json, sha256_of
from .student import PretrainedInit, RandomInit, SlicedInit, Student, StudentInit
from .sweep import Sweep
from .task import (
    METRICS,
    BuiltinData,
    ClassificationTask,
    DataSource,
    Evaluate,
    FilesData,
    HubData,
    RegressionTask,
    SplitSizes,
    Task,
)
from .teacher import FineTune, Teacher

__all__ = [
    "METHODS",
    "METRICS",
    "BuiltinData",
    "CkaDistillation",
    "ClassificationTask",
    "DataSource",
    "Distill",
    "Evaluate",
    "FeatureMethod",
    "FilesData",
    "FineTune",
    "FineTuning",
    "FlexKd",
    "HubData",
    "JobSpec",
    "LogitDistillation",
    "Method",
    "PretrainedInit",
    "Problem",
    "ProjectorDistillation",
    "Published",
    "RandomInit",
    "RegressionTask",
    "Resources",
    "Score",
    "Section",
    "SlicedInit",
    "SpecError",
    "SplitSizes",
    "Student",
    "StudentInit",
    "Sweep",
    "Task",
    "Teacher",
    "Tracking",
    "canonical_json",
    "json_schema",
    "line_in",
    "load_spec",
    "sha256_of",
    "spec_with",
]
