"""Features through a learned projector (TinyBERT: Jiao et al. 2020, arXiv:1909.10351)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .weights import LayeredMethod


class ProjectorDistillation(LayeredMethod):
    """A learned linear map from the student's features to the teacher's, one per pair of layers."""

    kind: Literal["projector"]
    loss: Literal["mse", "correlation"] = Field("mse", description="how the two are compared")
