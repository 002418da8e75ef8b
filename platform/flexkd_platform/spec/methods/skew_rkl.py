"""Distillation by the skew reverse KL (DistiLLM: Ko et al. 2024, arXiv:2402.03898)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .logit import LogitTerm, SkewReverseKl
from .weights import LogitMethod


class SkewReverse(LogitMethod):
    """Reverse KL to a mixture of teacher and student."""

    kind: Literal["skew_rkl"]
    skew: float = Field(0.1, ge=0, lt=1, description="share of the student in the mixture")

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return SkewReverseKl(skew=self.skew, temperature=self.temperature, top_k=self.top_k)
