"""The select step: the teacher units, or directions, that a student matches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ...spec import JobSpec, SlicedInit, Target, UnitOrder, UnitSelection
from ..facts import Facts
from ..layers import LayerRef
from ..step import Step, StepConfig
from ..step_kind import StepKind
from .score import ScoreConfig, score_step


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """How many units are selected, their share of the total importance, and their stability."""
    share = summary["kept_share"]
    text = f"{summary['d_student']} of {summary['d_teacher']} units, {share:.0%} of ΣG"
    overlap = summary.get("stability", {}).get("units")
    return text if overlap is None else f"{text}, overlap of two halves {overlap:.2f}"


KIND = StepKind("select", 2, "selection", "driver", _summary_line)


@dataclass(frozen=True)
class SelectConfig(StepConfig):
    """The most important units in rank order, or as many directions.

    count: d_S, the student's width.
    order: which units.
    seed: of random units.
    origin: for order `origin`, the student that was cut from the teacher.
    """

    kind: ClassVar = KIND
    count: int
    target: Target
    score: Step[ScoreConfig]
    order: UnitOrder = "highest"
    seed: int = 0
    origin: SlicedInit | None = None

    @property
    def layer(self) -> LayerRef:
        """The teacher layer whose units are selected."""
        return self.score.config.layer

    def to_identity(self) -> dict[str, Any]:
        """All settings; those of the order only where it reads them."""
        identity: dict[str, Any] = {"count": self.count, "target": self.target}
        if self.order != "highest":
            identity["select"] = self.order
        if self.order == "random":
            identity["seed"] = self.seed
        if self.order == "origin":
            assert self.origin is not None, "units of origin are those of a sliced student"
            identity["origin"] = self.origin.units
        return identity

    def settings(self) -> dict[str, Any]:
        """The identity without the seed of random units, which is the trial's."""
        return {name: value for name, value in self.to_identity().items() if name != "seed"}

    def needs(self) -> dict[str, Step]:
        """The importance of the units."""
        return {"score": self.score}


def select_step(
    spec: JobSpec,
    facts: Facts,
    layer: LayerRef,
    selection: UnitSelection | None = None,
    seed: int = 0,
) -> Step[SelectConfig]:
    """A selection from a layer of the job's teacher; None: its most important units.

    seed: of the trial.
    """
    width, score = facts.student_hidden, score_step(spec, facts, layer)
    if selection is None:
        return Step(SelectConfig(width, "units", score))
    order, init = selection.order, spec.student.init
    origin = init if isinstance(init, SlicedInit) else None
    if order == "origin" and origin is None:
        order = "highest"  # an aligned student is cut at these units
    return Step(SelectConfig(width, selection.target, score, order, seed, origin))
