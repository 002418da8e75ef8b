"""What a spec comes to: steps named by their content, and the trials that share them."""

from .build import build_plan
from .facts import Facts, FactsOf
from .layers import LayerRef, Stacks, layer_pairs, layer_refs, stack_of
from .planner import Plan, trial_settings
from .refused import Refused, refused_text
from .space import Point, Search, Space, grid_points
from .step import CODE_VERSIONS, Step, StepKind
from .steps_of import OUTPUTS, score_step, teacher_step
from .trial import Trial, uses_features, uses_outputs

__all__ = [
    "CODE_VERSIONS",
    "OUTPUTS",
    "Facts",
    "FactsOf",
    "LayerRef",
    "Plan",
    "Point",
    "Refused",
    "Search",
    "Space",
    "Stacks",
    "Step",
    "StepKind",
    "Trial",
    "build_plan",
    "grid_points",
    "layer_pairs",
    "layer_refs",
    "refused_text",
    "score_step",
    "stack_of",
    "teacher_step",
    "trial_settings",
    "uses_features",
    "uses_outputs",
]
