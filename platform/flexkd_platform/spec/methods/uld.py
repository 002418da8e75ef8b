"""Distillation by the distance of sorted probabilities (Boizard et al. 2024, arXiv:2402.12030)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from .logit import TVD_TEMPERATURE, LogitTerm, Uld, refuse_top_k
from .weights import LogitMethod


class UldDistillation(LogitMethod):
    """Universal logit distillation: the vocabularies of teacher and student may differ."""

    kind: Literal["uld"]
    temperature: float = Field(1.0, gt=0, description=TVD_TEMPERATURE)

    @model_validator(mode="after")
    def _all_entries(self) -> Self:
        refuse_top_k(self.top_k)
        return self

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return Uld(temperature=self.temperature)
