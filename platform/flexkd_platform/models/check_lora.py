"""Check the adapter of a student against the student."""

from __future__ import annotations

from ..model_info import ModelFacts
from ..model_info.errors import ModelError
from ..spec import Lora, Problem
from .config_facts import config_of, meta_backbone
from .lora import check_peft, target_modules


def check_lora(
    lora: Lora, student: ModelFacts, *, path: str = "student.lora"
) -> tuple[ModelFacts | None, list[Problem]]:
    """Check that `target` names modules of the student's layers.

    For an architecture without an entry, PEFT itself is asked as well.

    Returns:
        The student's facts, or None if there are problems; and all problems.
    """
    backbone = meta_backbone(config_of(student))
    targets = ["all-linear"] if isinstance(lora.target, str) else list(lora.target)
    problems = []
    for place, target in enumerate(targets):
        try:
            target_modules(backbone, target if target == "all-linear" else (target,))
        except ModelError as error:
            problems.append(Problem(f"{path}.target[{place}]", error.message, error.remedy))
    if student.discovered and not problems:
        try:
            check_peft(backbone, lora)
        except ModelError as error:
            problems.append(Problem(f"{path}.target", error.message, error.remedy))
    return (None, problems) if problems else (student, [])
