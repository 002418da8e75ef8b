"""Distillation by the generalised Jensen–Shannon divergence (GKD: Agarwal et al. 2024)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .logit import Jsd, LogitTerm
from .weights import LogitMethod


class JsdDistillation(LogitMethod):
    """Generalised Jensen–Shannon divergence between forward and reverse KL, arXiv:2306.13649."""

    kind: Literal["jsd"]
    mixture: float = Field(
        0.5, ge=0, le=1, description="0: forward KL, 1: reverse KL, between them the divergence"
    )

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return Jsd(beta=self.mixture, temperature=self.temperature, top_k=self.top_k)
