"""What a spec comes to: steps named by their content, and the trials that share them."""

from .facts import Facts, FactsOf
from .kinds import KINDS, StepKind, register_kind
from .layers import LayerRef, Stacks, layer_pairs, layer_refs, stack_of
from .planner import Plan, trial_settings
from .step import Step
from .steps_of import OUTPUTS, score_step, teacher_step
from .trial import Trial, uses_features, uses_outputs

__all__ = [
    "Facts",
    "FactsOf",
    "KINDS",
    "LayerRef",
    "OUTPUTS",
    "Plan",
    "Stacks",
    "Step",
    "StepKind",
    "Trial",
    "layer_pairs",
    "layer_refs",
    "register_kind",
    "score_step",
    "stack_of",
    "teacher_step",
    "trial_settings",
    "uses_features",
    "uses_outputs",
]
