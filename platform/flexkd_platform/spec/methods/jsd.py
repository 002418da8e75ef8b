"""Distillation by the generalised Jensen–Shannon divergence (GKD: Agarwal et al. 2024)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..section import later_field
from .logit import SCALED, Jsd, LogitTerm
from .weights import LogitMethod


class JsdDistillation(LogitMethod):
    """Generalised Jensen–Shannon divergence between forward and reverse KL, arXiv:2306.13649."""

    kind: Literal["jsd"]
    mixture: float = Field(
        0.5, ge=0, le=1, description="0: forward KL, 1: reverse KL, between them the divergence"
    )
    scaled: bool | None = later_field(None, description=SCALED)

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return Jsd(
            beta=self.mixture,
            scaled=self.scaled,
            temperature=self.temperature,
            top_k=self.top_k,
        )

    def unread(self, task: str) -> frozenset[str]:
        """Also `scaled` where it changes nothing: not set, or at an end of the mixture."""
        scales = self.scaled and 0 < self.mixture < 1
        return super().unread(task) | (frozenset() if scales else {"scaled"})
