"""Distillation by the total variation distance (Wen et al. 2023, arXiv:2307.15190)."""

from __future__ import annotations

from typing import Literal

from .logit import LogitLoss, Tvd
from .weights import LogitMethod


class TvdDistillation(LogitMethod):
    """Total variation distance between the teacher's outputs and the student's."""

    kind: Literal["tvd"]

    @property
    def logit_loss(self) -> LogitLoss:
        """The logit term."""
        return Tvd(temperature=self.temperature, top_k=self.top_k)
