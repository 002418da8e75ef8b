"""Features through a learned projector (TinyBERT: Jiao et al. 2020, arXiv:1909.10351)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .method import LossSettings
from .weights import LayeredMethod


class ProjectorDistillation(LayeredMethod):
    """A learned linear map from the student's features to the teacher's, one per pair of layers."""

    kind: Literal["projector"]
    loss: Literal["mse", "correlation"] = Field("mse", description="how the two are compared")

    @property
    def feature_loss(self) -> LossSettings:
        """The loss between projected features and the teacher's."""
        return LossSettings(self.loss)

    @property
    def correlation(self) -> Literal["sum"] | None:
        """A sum over the teacher's units."""
        return "sum" if self.loss == "correlation" else None

    @property
    def projects(self) -> bool:
        """One projector for each pair of layers."""
        return True
