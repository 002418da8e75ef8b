"""Distillation by the skew forward KL (DistiLLM: Ko et al. 2024, arXiv:2402.03898)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .logit import LogitTerm, SkewForwardKl
from .weights import LogitMethod


class SkewForward(LogitMethod):
    """Forward KL to a mixture of teacher and student."""

    kind: Literal["skew_fkl"]
    skew: float = Field(0.1, ge=0, lt=1, description="share of the teacher in the mixture")

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return SkewForwardKl(skew=self.skew, temperature=self.temperature, top_k=self.top_k)
