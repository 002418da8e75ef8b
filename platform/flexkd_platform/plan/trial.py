"""A trial: one method with one value of every axis that touches it, and one seed."""

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
    """What is trained and measured once.

    params: what a reader tells it by: the method's main weight, its settings that are not the
        default, and the axes that touch it.
    settings: everything that decides its result but the seed, dotted path → value.
    """

    method: str
    params: Mapping[str, Json]
    settings: Mapping[str, Json]
    seed: int
    distill: Step[DistillConfig]
    evaluate: Step[EvaluateConfig]

    @property
    def hash(self) -> str:
        """The hash of the training; more metrics later do not make it another trial."""
        return self.distill.hash
