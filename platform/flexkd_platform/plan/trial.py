"""A trial: one method with one value of every axis that affects it, and one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .step import Step

if TYPE_CHECKING:
    from .kinds.distill import DistillConfig
    from .kinds.evaluate import EvaluateConfig

Json = Any


@dataclass(frozen=True)
class Trial:
    """One training and its evaluation.

    params: what identifies it to a reader: the method's main weight, its settings that are not the
        default, and the axes that affect it.
    settings: everything that determines its result except the seed, dotted path → value.
    """

    method: str
    params: Mapping[str, Json]
    settings: Mapping[str, Json]
    seed: int
    distill: Step[DistillConfig]
    evaluate: Step[EvaluateConfig]

    @property
    def hash(self) -> str:
        """The hash of the training: adding metrics later does not create another trial."""
        return self.distill.hash
