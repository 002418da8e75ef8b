"""Flex-KD (Saadi & Wang 2025, arXiv:2507.10155)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .method import LossSettings, UnitSelection
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
    pairing: Literal["rank", "index"] = Field(
        "rank", description="order in which selected units meet the student's"
    )
    target: Literal["units", "directions"] = Field(
        "units",
        description="units of the teacher, or the main directions of its gradients (h·U)",
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
        return UnitSelection(self.target, self.pairing)

    def unread(self, task: str) -> frozenset[str]:
        """Also `reduction` for losses other than `correlation`, and `pairing` for directions."""
        unread = set(super().unread(task))
        unread |= set() if self.loss == "correlation" else {"reduction"}
        unread |= {"pairing"} if self.target == "directions" else set()
        return frozenset(unread)
