"""The kinds of steps, one file each; `KINDS` is the table.

Each file declares the kind, its config (the identity of a step), and how a step is created from a
spec and the facts. The function that runs a step is in the file of the same name in `steps/`.
"""

from __future__ import annotations

from ..step_kind import StepKind
from . import (
    base,
    cache,
    dataset,
    distill,
    evaluate,
    generate,
    score,
    select,
    teacher,
    warm_up,
)

KINDS: dict[str, StepKind] = {}
"""Every kind by its name, in the order of a job."""


def register_kind(kind: StepKind) -> StepKind:
    """Add a kind to the table.

    Raises:
        ValueError: another kind has this name.
    """
    if KINDS.setdefault(kind.name, kind) != kind:
        raise ValueError(f"the step kind {kind.name!r} is already registered; use another name")
    return kind


for _module in (
    dataset,
    base,
    teacher,
    score,
    cache,
    select,
    generate,
    warm_up,
    distill,
    evaluate,
):
    register_kind(_module.KIND)

__all__ = ["KINDS", "register_kind"]
