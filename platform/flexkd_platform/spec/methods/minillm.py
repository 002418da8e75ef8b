"""Distillation by the reverse KL (MiniLLM: Gu et al. 2024, arXiv:2306.08543)."""

from __future__ import annotations

from typing import Literal

from .logit import LogitTerm, ReverseKl
from .weights import LogitMethod


class MiniLlm(LogitMethod):
    """Reverse KL, on the data's responses, or with `on_policy` on the student's own."""

    kind: Literal["minillm"]

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return ReverseKl(temperature=self.temperature, top_k=self.top_k)
