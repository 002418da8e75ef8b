"""The kinds of steps, one file each; `KINDS` is the table."""

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
"""Every kind by its name, in the order in which a job meets them."""


def register_kind(kind: StepKind) -> StepKind:
    """Add a kind to the table.

    Raises:
        ValueError: another kind has the name.
    """
    if KINDS.setdefault(kind.name, kind) != kind:
        raise ValueError(f"two step kinds are named {kind.name!r}; rename one of them")
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

__all__ = ["KINDS", "StepKind", "register_kind"]
