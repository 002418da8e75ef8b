"""Flex-KD (Saadi & Wang 2025, arXiv:2507.10155)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .weights import LayeredMethod


class FlexKd(LayeredMethod):
    """The teacher's d_S most task-relevant units, matched unit by unit."""

    kind: Literal["flexkd"]
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
