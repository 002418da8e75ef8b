"""The feature terms of the methods: the pairs of layers, and the loss that compares them.

Shapes: N rows of the global batch, S student units, T teacher units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from flexkd_core import FEATURE_LOSSES

from ..plan import LayerRef
from ..spec import Method

FeatureLoss = Callable[[Tensor, Tensor], Tensor]

Pairing = Literal["rank", "index"]


class FeatureTerm:
    """One pair of layers, and what is matched in the teacher's.

    units: the selected teacher units in the student's order; all units when None. May be changed
        between steps.
    directions_TS: columns to project the teacher's features on, instead of units.
    """

    def __init__(
        self,
        student: LayerRef,
        teacher: LayerRef,
        *,
        units: Tensor | None = None,
        directions_TS: Tensor | None = None,
    ) -> None:
        self.student, self.teacher = student, teacher
        self.units, self.directions_TS = units, directions_TS

    def matched(self, teacher_NT: Tensor) -> Tensor:
        """The teacher's side of the loss."""
        if self.directions_TS is not None:
            return teacher_NT @ self.directions_TS.to(teacher_NT)
        return teacher_NT if self.units is None else teacher_NT[:, self.units.to(teacher_NT.device)]


@dataclass
class FeatureScale:
    """The constant that multiplies the feature loss; set before the first step, then kept."""

    value: float = 1.0


def feature_loss(method: Method) -> FeatureLoss:
    """The feature loss of a method, with its settings bound."""
    settings = method.feature_loss
    assert settings is not None, f"{method.kind} has no feature loss"
    return partial(FEATURE_LOSSES[settings.name], **settings.arguments)


def paired_units(pairing: Pairing, ranked: Sequence[int]) -> Tensor:
    """The selected units in the order in which they are paired with the student's."""
    return torch.tensor(sorted(ranked) if pairing == "index" else list(ranked))
