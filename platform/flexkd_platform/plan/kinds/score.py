"""The score step: the importance of each unit of one teacher layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...spec import TASK_KINDS, JobSpec, Score
from ..facts import Facts
from ..layers import LayerRef
from ..step import Step
from ..step_kind import StepKind
from ._chunked import ChunkedConfig
from .teacher import teacher_step


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """Examples, the digest of G, and the effective dimension of the gradients where known."""
    dimension = summary.get("geometry", {}).get("effective_dimension")
    shown = "" if dimension is None else f", effective dimension {dimension}"
    return f"{summary['examples']:,} examples, G {summary['digest'][:12]}{shown}"


KIND = StepKind("score", 2, "scoring", "pass", _summary_line)


@dataclass(frozen=True)
class ImportanceConfig:
    """How the importance of a unit is computed. Settings that the kind ignores have their defaults.

    output: F, the output whose gradient is taken.
    steps: of integrated gradients.
    seed: of random importance.
    """

    kind: Literal["gradient", "activation", "integrated_gradients", "random"]
    output: str = "predicted_logit"
    steps: int = 1
    seed: int = 0

    @property
    def reads_output(self) -> bool:
        """Whether F is read."""
        return self.kind in {"gradient", "integrated_gradients"}

    @classmethod
    def of(cls, score: Score, task: str) -> ImportanceConfig:
        """The importance that a section of the spec describes."""
        found = cls(score.kind)
        if found.reads_output:
            steps = score.steps if score.kind == "integrated_gradients" else found.steps
            output = score.output or TASK_KINDS[task].scored_outputs[0]
            return cls(score.kind, output=output, steps=steps)
        return cls(score.kind, seed=score.seed) if score.kind == "random" else found

    def to_identity(self) -> dict[str, Any]:
        """The settings that the kind reads, and no others."""
        identity: dict[str, Any] = {"kind": self.kind}
        if self.reads_output:
            identity["output"] = self.output
        if self.kind == "integrated_gradients":
            identity["steps"] = self.steps
        if self.kind == "random":
            identity["seed"] = self.seed
        return identity


@dataclass(frozen=True)
class ScoreConfig(ChunkedConfig):
    """The importance vector G of a layer.

    samples: number of scored training examples, the first ones of the split.
    geometry: whether the second moment of the gradients is also stored.
    """

    kind: ClassVar = KIND
    importance: ImportanceConfig
    layer: LayerRef
    samples: int
    geometry: bool

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {
            **self.importance.to_identity(),
            "layer": self.layer,
            "samples": self.samples,
            "chunk": self.chunk,
            "geometry": self.geometry,
        }


def score_step(spec: JobSpec, facts: Facts, layer: LayerRef) -> Step[ScoreConfig]:
    """The importance of a layer of the job's teacher."""
    score = spec.score
    return Step(
        ScoreConfig(
            teacher=teacher_step(spec, facts),
            chunk=score.chunk,
            importance=ImportanceConfig.of(score, spec.task.kind),
            layer=layer,
            samples=facts.train_rows if score.samples == "all" else score.samples,
            geometry=score.geometry and score.kind == "gradient",
        )
    )
