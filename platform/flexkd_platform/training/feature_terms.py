"""The feature terms of the methods: which rows meet, and by which loss.

Shapes: N rows of the global batch, S student units, T teacher units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from flexkd_core import FEATURE_LOSSES, cka_loss, correlation_loss

from ..plan import LayerRef
from ..spec import CkaDistillation, FeatureMethod, FlexKd, ProjectorDistillation

FeatureLoss = Callable[[Tensor, Tensor], Tensor]


class FeatureTerm:
    """One pair of layers and what of the teacher's is matched.

    units: the selected teacher units in the student's order; all of the teacher's when None. May
        be changed between steps.
    directions_TS: columns to project the teacher's features on, in place of units.
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


def feature_loss(method: FeatureMethod) -> FeatureLoss:
    """The loss between features of a method, with its settings bound."""
    if isinstance(method, ProjectorDistillation):
        return FEATURE_LOSSES[method.loss]
    if isinstance(method, CkaDistillation):
        return partial(cka_loss, form=method.form)
    if isinstance(method, FlexKd):
        if method.loss == "correlation":
            return partial(correlation_loss, reduction=method.reduction)
        return FEATURE_LOSSES[method.loss]
    return FEATURE_LOSSES[method.kind]  # type: ignore[attr-defined]  # every subclass has one


def paired_units(method: FlexKd, ranked: Sequence[int]) -> Tensor:
    """The selected units in the order in which they meet the student's."""
    return torch.tensor(sorted(ranked) if method.pairing == "index" else list(ranked))
