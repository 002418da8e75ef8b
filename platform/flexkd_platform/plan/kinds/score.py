"""The score step: the importance of each unit of one teacher layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ...spec import TASK_KINDS, ImportanceKind, JobSpec, Moment, Score, counted
from ..facts import Facts
from ..layers import LayerRef
from ..step import Step
from ..step_kind import StepKind
from ._chunked import ChunkedConfig, Draw
from .teacher import teacher_step


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """Examples, the digest of G, and the effective dimension of the gradients where known."""
    text = f"{counted(summary['examples'], 'example')}, G {summary['digest'][:12]}"
    geometry = summary.get("geometry", {})
    if "effective_dimension" not in geometry:
        return text
    error = geometry.get("effective_dimension_error")
    text += f", effective dimension {geometry['effective_dimension']}"
    text += "" if error is None else f" ± {error:g}"
    rows, units = geometry.get("rows", 0), geometry.get("units", 0)
    return (
        text
        if rows >= units
        else f"{text} (warning: {counted(rows, 'gradient')} for {counted(units, 'unit')})"
    )


KIND = StepKind("score", 3, "scoring", "pass", _summary_line)


GRADIENT_KINDS = frozenset({"gradient", "gradient_activation", "contribution"})
"""Kinds of importance that take one gradient at the layer's own output."""

LABEL_OUTPUTS = frozenset({"label_logit", "label_logprob", "loss"})
"""Outputs F that depend on an example's label."""


@dataclass(frozen=True)
class ImportanceConfig:
    """How the importance of a unit is computed. Settings that the kind ignores have their defaults.

    output: F, the output whose gradient is taken.
    steps: of integrated gradients.
    seed: of random importance.
    """

    kind: ImportanceKind
    output: str = "predicted_logit"
    steps: int = 1
    seed: int = 0

    @property
    def reads_output(self) -> bool:
        """Whether F is read."""
        return self.kind in {*GRADIENT_KINDS, "integrated_gradients"}

    @property
    def reads_labels(self) -> bool:
        """Whether F depends on the labels of the examples."""
        return self.reads_output and self.output in LABEL_OUTPUTS

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

    drawn: the scored training examples; None for all.
    moment: over what the second moment of the gradients is taken; None if it is not stored.
    """

    kind: ClassVar = KIND
    importance: ImportanceConfig
    layer: LayerRef
    drawn: Draw | None
    moment: Moment | None

    @property
    def draw(self) -> Draw | None:
        """The scored examples; None for all."""
        return self.drawn

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {
            **self.importance.to_identity(),
            "layer": self.layer,
            "samples": "all" if self.drawn is None else asdict(self.drawn),
            "chunk": self.chunk,
            "moment": self.moment,
        }


def score_step(spec: JobSpec, facts: Facts, layer: LayerRef) -> Step[ScoreConfig]:
    """The importance of a layer of the job's teacher."""
    score = spec.score
    geometry = score.geometry and score.kind in GRADIENT_KINDS
    return Step(
        ScoreConfig(
            teacher=teacher_step(spec, facts),
            chunk=score.chunk,
            importance=ImportanceConfig.of(score, spec.task.kind),
            layer=layer,
            drawn=_drawn(score, facts),
            moment=score.moment if geometry else None,
        )
    )


def _drawn(score: Score, facts: Facts) -> Draw | None:
    """None where every example is drawn, whatever the seed."""
    if score.samples == "all" or score.samples >= facts.train_rows:
        return None
    return Draw(score.samples, score.seed)
