"""The feature terms of the methods: the pairs of layers, and the loss that compares them.

Shapes: N rows of the global batch, S student units, T teacher units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from flexkd_core import FEATURE_LOSSES

from ..artifacts import UnitPairs
from ..plan import LayerRef
from ..spec import Method, Pairing

FeatureLoss = Callable[..., Tensor]


class FeatureTerm:
    """One pair of layers, and what is matched in the teacher's.

    units: the selected teacher units, or directions, in the student's order; all when None. May be
        changed between steps.
    directions_TC: columns to project the teacher's features on, instead of units.
    signs_S: 1 or -1 for each selected direction, whose sign is arbitrary; all 1 when None.
    weights: of each teacher unit, or direction, in the loss; uniform when None.
    """

    def __init__(
        self,
        student: LayerRef,
        teacher: LayerRef,
        *,
        units: Tensor | None = None,
        directions_TC: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        self.student, self.teacher = student, teacher
        self.units, self.directions_TC, self.weights = units, directions_TC, weights
        self.signs_S: Tensor | None = None

    def state(self) -> dict[str, list[float] | None]:
        """What may change during the training, as JSON."""
        values = {"units": self.units, "signs": self.signs_S, "weights": self.weights}
        return {k: None if kept is None else kept.tolist() for k, kept in values.items()}

    def restore(self, state: Mapping[str, list[float] | None]) -> None:
        """The inverse of `state`."""
        units, signs, weights = (state.get(name) for name in ("units", "signs", "weights"))
        self.units = None if units is None else torch.tensor(units)
        self.signs_S = None if signs is None else torch.tensor(signs)
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)

    def pairs(self) -> UnitPairs | None:
        """What each student unit is paired with now; None where all features are compared."""
        if self.units is None and self.directions_TC is None:
            return None
        count = 0 if self.directions_TC is None else self.directions_TC.shape[1]
        units = range(count) if self.units is None else self.units.tolist()
        signs = () if self.signs_S is None else tuple(self.signs_S.tolist())
        target: Literal["units", "directions"]
        target = "units" if self.directions_TC is None else "directions"
        return UnitPairs(self.student, self.teacher, tuple(units), target, signs)

    def matched(self, teacher_NT: Tensor) -> Tensor:
        """The teacher's side of the loss."""
        matched_NS = self.candidates(teacher_NT)
        if self.units is not None:
            matched_NS = matched_NS[:, self.units.to(matched_NS.device)]
        return matched_NS if self.signs_S is None else matched_NS * self.signs_S.to(matched_NS)

    def candidates(self, teacher_NT: Tensor) -> Tensor:
        """What `units` are indices of: the teacher's units, or the directions."""
        if self.directions_TC is None:
            return teacher_NT
        return teacher_NT @ self.directions_TC.to(teacher_NT)

    def loss_arguments(self, student_NS: Tensor) -> dict[str, Any]:
        """The arguments of the loss that differ between terms."""
        if self.weights is None:
            return {}
        weights = self.weights if self.units is None else self.weights[self.units]
        return {"weights_S": weights.to(student_NS)}


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
    """The selected units in the order in which they are first paired with the student's."""
    return torch.tensor(sorted(ranked) if pairing == "index" else list(ranked))
