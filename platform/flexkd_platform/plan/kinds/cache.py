"""The cache step: the teacher signal on every training example, for offline distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...spec import JobSpec
from ..facts import Facts
from ..layers import LayerRef, stack_of
from ..reading import Reading, ResponseReading
from ..step import Step
from ..step_kind import StepKind
from ._chunked import ChunkedConfig
from .teacher import teacher_step

KIND = StepKind("cache", 3, "teacher cache", "pass")

OUTPUTS = "outputs"
"""The value of `holds` for a cache of the teacher's outputs; other caches name a layer."""


@dataclass(frozen=True)
class CacheConfig(ChunkedConfig):
    """One layer's hidden states, or the outputs; for a language model, the inputs of its head.

    holds: the layer, or `OUTPUTS`.
    """

    kind: ClassVar = KIND
    holds: LayerRef

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {"holds": self.holds, "dtype": "float32", "chunk": self.chunk}


def cache_step(spec: JobSpec, facts: Facts, holds: LayerRef) -> Step[CacheConfig]:
    """A cache of the job's teacher."""
    return Step(CacheConfig(teacher_step(spec, facts), spec.score.chunk, holds))


def cache_numbers(reading: Reading, facts: Facts, holds: LayerRef) -> int:
    """fp32 numbers of a cache; of text an upper bound, since responses vary in length.

    reading: the teacher's.
    """
    if isinstance(reading, ResponseReading):
        # The outputs of a language model are stored as the hidden states that its head reads.
        encoder = stack_of(holds) == "encoder"
        limit = reading.max_prompt if encoder else reading.max_response
        if reading.template == "chat":  # earlier answers are in the prompt
            limit += reading.max_prompt
        return facts.train_rows * limit * facts.teacher_hidden
    return facts.train_rows * (facts.outputs if holds == OUTPUTS else facts.teacher_hidden)
