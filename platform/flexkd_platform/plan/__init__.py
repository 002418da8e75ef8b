"""Plan a spec: steps identified by their content, and the trials that share them."""

from .facts import ClassWeights, Facts, FactsOf
from .heads import HeadUse
from .kinds import KINDS, register_kind
from .kinds._chunked import ChunkedConfig, Draw
from .kinds._student import (
    RowCounts,
    StudentConfig,
    TrainingConfig,
    epoch_rows,
    labelled_rows,
)
from .kinds.base import BaseConfig
from .kinds.cache import OUTPUTS, CacheConfig
from .kinds.dataset import DatasetConfig
from .kinds.distill import DistillConfig, OfflineTeacher, OnlineTeacher, ReselectConfig
from .kinds.evaluate import BertScoreConfig, EvaluateConfig, GenerationConfig
from .kinds.generate import GenerateConfig
from .kinds.score import GRADIENT_KINDS, ImportanceConfig, ScoreConfig, score_step
from .kinds.select import SelectConfig
from .kinds.teacher import ModelSource, Pretrained, TeacherConfig, teacher_step
from .kinds.warm_up import WarmUpConfig
from .layers import (
    LayerRef,
    Stacks,
    StackShape,
    layer_pairs,
    layer_refs,
    precedes_norm,
    stack_of,
)
from .planner import Plan, trial_settings
from .reading import LabelReading, Reading, ResponseReading, reading_with
from .recipe import Precision, TrainingRecipe
from .step import Step, StepConfig, has_config, with_config
from .step_kind import RunsOn, StepKind
from .trial import Trial

__all__ = [
    "ClassWeights",
    "Facts",
    "FactsOf",
    "HeadUse",
    "Plan",
    "Trial",
    "Step",
    "StepConfig",
    "RunsOn",
    "StepKind",
    "KINDS",
    "register_kind",
    "has_config",
    "with_config",
    "DatasetConfig",
    "BaseConfig",
    "TeacherConfig",
    "ChunkedConfig",
    "ScoreConfig",
    "CacheConfig",
    "SelectConfig",
    "GenerateConfig",
    "TrainingConfig",
    "WarmUpConfig",
    "DistillConfig",
    "EvaluateConfig",
    "Reading",
    "BertScoreConfig",
    "GenerationConfig",
    "Draw",
    "GRADIENT_KINDS",
    "ImportanceConfig",
    "LabelReading",
    "ModelSource",
    "OfflineTeacher",
    "OnlineTeacher",
    "Precision",
    "Pretrained",
    "ReselectConfig",
    "ResponseReading",
    "reading_with",
    "RowCounts",
    "StudentConfig",
    "epoch_rows",
    "labelled_rows",
    "TrainingRecipe",
    "LayerRef",
    "OUTPUTS",
    "StackShape",
    "Stacks",
    "layer_pairs",
    "layer_refs",
    "precedes_norm",
    "score_step",
    "stack_of",
    "teacher_step",
    "trial_settings",
]
