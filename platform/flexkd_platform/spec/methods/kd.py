"""Distillation of the outputs by the forward KL (Hinton et al. 2015, arXiv:1503.02531)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .logit import ForwardKl, LogitTerm
from .weights import BETA, LAMBDA, LogitMethod, Weight


class LogitDistillation(LogitMethod):
    """Forward KL between the teacher's outputs and the student's."""

    kind: Literal["kd"]
    beta: Weight = Field(0.5, description=BETA)
    lambda_: Weight = Field(0.5, alias="lambda", description=LAMBDA)

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return ForwardKl(temperature=self.temperature, top_k=self.top_k)
