"""What a spec comes to: steps named by their content, and the trials that share them."""

from .build import Plan, build_plan, score_step, teacher_step
from .facts import Facts, FactsOf
from .step import CODE_VERSIONS, Step, StepKind
from .trial import Trial, uses_teacher

__all__ = [
    "CODE_VERSIONS",
    "Facts",
    "FactsOf",
    "Plan",
    "Step",
    "StepKind",
    "Trial",
    "build_plan",
    "score_step",
    "teacher_step",
    "uses_teacher",
]
