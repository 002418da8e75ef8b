"""Sequence-level distillation (Kim & Rush 2016, arXiv:1606.07947)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..section import Section


class SeqKd(Section):
    """Supervised training on responses that the teacher wrote, λ = 1."""

    kind: Literal["seqkd"]
    decoding: Literal["greedy", "beam", "sample"] = Field(
        "greedy", description="how the teacher writes; beam: 4 beams, sample: temperature 1"
    )
    seed: int = Field(0, ge=0, description="of the draw, for sample")
