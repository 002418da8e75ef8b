"""The generate step: the teacher's responses to the training prompts, for SeqKD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...spec import Beam, Decoding, Greedy, JobSpec, ResponseTask, Sampling, TeacherResponses
from ..facts import Facts
from ..step import Step
from ..step_kind import StepKind
from ._chunked import ChunkedConfig
from .teacher import teacher_step

KIND = StepKind("generate", 1, "teacher responses", "pass")


@dataclass(frozen=True)
class GenerateConfig(ChunkedConfig):
    """One response to every training prompt."""

    kind: ClassVar = KIND
    decoding: Decoding
    max_new_tokens: int

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {
            "decoding": self.decoding.to_json(),
            "max_new_tokens": self.max_new_tokens,
            "chunk": self.chunk,
        }


def generate_step(spec: JobSpec, facts: Facts, responses: TeacherResponses) -> Step[GenerateConfig]:
    """The responses that a method trains on."""
    assert isinstance(spec.task, ResponseTask)
    decodings: dict[str, Decoding] = {
        "greedy": Greedy(kind="greedy"),
        "beam": Beam(),
        "sample": Sampling(seeds=(responses.seed,)),
    }
    return Step(
        GenerateConfig(
            teacher=teacher_step(spec, facts),
            chunk=spec.score.chunk,
            decoding=decodings[responses.decoding],
            max_new_tokens=spec.task.max_response,
        )
    )
