"""Flex-KD (Saadi & Wang 2025, arXiv:2507.10155)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from ..section import later_field
from .method import LossSettings, Pairing, Target, TermWeights, UnitOrder, UnitSelection
from .weights import ALPHA, LayeredMethod, Weight


class FlexKd(LayeredMethod):
    """The teacher's d_S most task-relevant units, matched unit by unit."""

    text_alpha: ClassVar[float] = 0.05

    kind: Literal["flexkd"]
    alpha: Weight = Field(
        0.5,
        description=f"{ALPHA}; left out: 0.5 for classification and regression, 0.05 for text "
        "tasks",
    )
    loss: Literal["correlation", "mse", "cosine"] = Field(
        "correlation", description="how paired units are compared"
    )
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="of the correlation loss over the units; Eq. 5 is the sum"
    )
    pairing: Pairing = Field(
        "rank",
        description="how selected units are paired with the student's: by rank, by index, by the "
        "assignment of highest correlation before the training (matched), or each with the unit "
        "that the student's was cut from, the others matched (origin)",
    )
    target: Target = Field(
        "units",
        description="units of the teacher, the main directions of its gradients (h·U), or those "
        "relative to the covariance of its features",
    )
    select: UnitOrder = later_field(
        "highest",
        description="which units: those of highest importance, or of highest importance that the "
        "others do not explain (diverse), or those that the student was cut from (origin); lowest "
        "and random are controls, random draws by the trial's seed",
    )
    term_weights: TermWeights | None = later_field(
        None,
        alias="weights",
        description="weights of the loss's terms: uniform, proportional to the importance of a "
        "unit, or to the eigenvalue of a direction (spectrum); by default uniform for units, "
        "spectrum for directions",
    )
    rematch: int | None = later_field(
        None,
        gt=0,
        description="optimiser steps between matchings, for pairing: matched or origin; null: "
        "matched once, before the training",
    )

    @property
    def feature_loss(self) -> LossSettings:
        """The loss between paired units."""
        arguments = {"reduction": self.reduction} if self.loss == "correlation" else {}
        return LossSettings(self.loss, arguments)

    @property
    def correlation(self) -> Literal["sum", "mean"] | None:
        """The value of `reduction`, for the correlation loss."""
        return self.reduction if self.loss == "correlation" else None

    @property
    def selection(self) -> UnitSelection:
        """The d_S most important units, or directions."""
        weights = self.term_weights
        if weights is None:
            weights = "uniform" if self.target == "units" else "spectrum"
        return UnitSelection(self.target, self.pairing, self.select, self.rematch, weights)

    def unread(self, task: str) -> frozenset[str]:
        """Also `reduction` for losses other than `correlation`, the order of units for directions,
        and `weights`, which the identity has as they are in force.
        """
        unread = {*super().unread(task), "weights"}
        unread |= set() if self.loss == "correlation" else {"reduction"}
        unread |= {"pairing"} if self.target != "units" and self.pairing != "matched" else set()
        return frozenset(unread)

    @property
    def settled(self) -> dict[str, Any]:
        """The weights in force, unless they are uniform."""
        weights = self.selection.weights
        return {"weights": weights} if self.uses_features and weights != "uniform" else {}
