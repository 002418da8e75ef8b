"""Sequence-level distillation (Kim & Rush 2016, arXiv:1606.07947)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .method import MethodSettings, TeacherResponses


class SeqKd(MethodSettings):
    """Supervised training on responses that the teacher generated, λ = 1."""

    kind: Literal["seqkd"]
    decoding: Literal["greedy", "beam", "sample"] = Field(
        "greedy", description="how the teacher generates; beam: 4 beams, sample: temperature 1"
    )
    seed: int = Field(0, ge=0, description="of the draw, for sample")

    @property
    def responses(self) -> TeacherResponses:
        """The teacher's responses that replace those of the data."""
        return TeacherResponses(self.decoding, self.seed)

    def unread(self, task: str) -> frozenset[str]:
        """Also the seed, unless responses are sampled."""
        drawn = self.decoding == "sample"
        return super().unread(task) | (frozenset() if drawn else {"seed"})
