"""The select step: the teacher units, or directions, that a student matches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ...spec import JobSpec
from ..facts import Facts
from ..layers import LayerRef
from ..step import Step, StepConfig
from ..step_kind import StepKind
from .score import ScoreConfig, score_step

Target = Literal["units", "directions"]


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """How many units are selected, and their share of the total importance."""
    share = summary["kept_share"]
    return f"{summary['d_student']} of {summary['d_teacher']} units, {share:.0%} of ΣG"


KIND = StepKind("select", 2, "selection", "driver", _summary_line)


@dataclass(frozen=True)
class SelectConfig(StepConfig):
    """The most important units in rank order, or as many directions.

    count: d_S, the student's width.
    """

    kind: ClassVar = KIND
    count: int
    target: Target
    score: Step[ScoreConfig]

    @property
    def layer(self) -> LayerRef:
        """The teacher layer whose units are selected."""
        return self.score.config.layer

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {"count": self.count, "target": self.target}

    def needs(self) -> dict[str, Step]:
        """The importance of the units."""
        return {"score": self.score}


def select_step(
    spec: JobSpec, facts: Facts, layer: LayerRef, target: Target = "units"
) -> Step[SelectConfig]:
    """A selection from a layer of the job's teacher."""
    return Step(SelectConfig(facts.student_hidden, target, score_step(spec, facts, layer)))
