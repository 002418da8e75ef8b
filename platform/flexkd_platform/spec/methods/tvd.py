"""Distillation by the total variation distance (Wen et al. 2023, arXiv:2307.15190)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .logit import TVD_TEMPERATURE, LogitTerm, Tvd
from .weights import LogitMethod


class TvdDistillation(LogitMethod):
    """Total variation distance between the teacher's outputs and the student's."""

    kind: Literal["tvd"]
    temperature: float = Field(1.0, gt=0, description=TVD_TEMPERATURE)

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return Tvd(temperature=self.temperature, top_k=self.top_k)
