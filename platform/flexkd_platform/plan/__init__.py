"""What a spec comes to: steps named by their content, and the trials that share them."""

from .facts import Facts, FactsOf
from .layers import LayerRef, Stacks, layer_pairs, layer_refs, stack_of
from .planner import Plan, trial_settings
from .step import CODE_VERSIONS, Step, StepKind
from .steps_of import OUTPUTS, score_step, teacher_step
from .trial import Trial, uses_features, uses_outputs

__all__ = [
    "CODE_VERSIONS",
    "Facts",
    "FactsOf",
    "LayerRef",
    "OUTPUTS",
    "Plan",
    "Stacks",
    "Step",
    "StepKind",
    "Trial",
    "layer_pairs",
    "layer_refs",
    "score_step",
    "stack_of",
    "teacher_step",
    "trial_settings",
    "uses_features",
    "uses_outputs",
]
