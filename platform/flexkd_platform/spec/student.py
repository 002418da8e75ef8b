"""The student: its size, and the source of its initial weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section, later_field
from .teacher import FineTune, ModulePaths

Layers = Annotated[
    int | tuple[int, ...],
    Field(description="how many layers, spread evenly over the teacher's, or a list of them"),
]


def evenly(kept: int, count: int) -> list[int]:
    """`kept` of `count` indices, evenly spaced from 0, in order."""
    assert 0 < kept <= count, (kept, count)
    return [place * count // kept for place in range(kept)]


class CutInit(Section):
    """A smaller copy of the teacher."""

    layers: Layers = 3
    hidden_size: int = Field(128, gt=0, description="width; a multiple of the teacher's head size")
    weights: Literal["pretrained", "finetuned"] = Field(
        "pretrained", description="cut from the teacher before or after its fine-tuning"
    )


class SlicedInit(CutInit):
    """A smaller copy of the teacher: chosen layers, evenly spaced or first hidden units."""

    kind: Literal["sliced"] = "sliced"
    units: Literal["even", "first"] = Field(
        "even", description="which hidden units are kept: evenly spaced, or the first ones"
    )

    def kept_units(self, total: int) -> list[int]:
        """The hidden units of a teacher with `total` of them that are kept, in order."""
        kept = self.hidden_size
        return evenly(kept, total) if self.units == "even" else list(range(kept))


class AlignedInit(CutInit):
    """A smaller copy of the teacher at the selected units: student unit m starts as unit i_m."""

    kind: Literal["aligned"]


class RandomInit(Section):
    """The teacher's architecture, smaller, with random weights."""

    kind: Literal["random"]
    layers: int = Field(3, gt=0, description="hidden layers")
    hidden_size: int = Field(128, gt=0, description="width; a multiple of the teacher's head size")


class PretrainedInit(Section):
    """A separate pretrained model."""

    kind: Literal["pretrained"]
    model: str = Field(description="folder, hub name or package:NAME")
    revision: str | None = Field(None, description="commit, tag or branch of a hub model")
    head: Literal["keep", "new"] = later_field(
        "keep",
        description="keep: the checkpoint's classification head, if it has one, its outputs "
        "matched with the data's classes by name; new: a head that is drawn and trained",
    )
    modules: ModulePaths | None = later_field(
        None, description="where the model keeps its layers, if that is not found by rule"
    )


StudentInit = Annotated[
    SlicedInit | AlignedInit | RandomInit | PretrainedInit, Field(discriminator="kind")
]


class Lora(Section):
    """A low-rank adapter: h = W x + (alpha / r) B A x. A classification head is trained whole."""

    r: int = Field(16, gt=0, description="rank of the adapter")
    alpha: float = Field(32, gt=0, description="the adapter's change is scaled by alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the adapter's input")
    target: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear",
        min_length=1,
        description="linear modules of the hidden layers: all, or those whose names end so",
    )
    export: Literal["adapter", "merged"] = Field(
        "adapter",
        description="what is saved: a PEFT folder, or the model with the adapter merged",
    )


class Student(Section):
    """The model that learns."""

    init: StudentInit = Field(default_factory=SlicedInit, description="where the student starts")
    labels: Literal["all"] | int | float = later_field(
        "all",
        description="training rows whose labels the student reads: all, a number, or a share; "
        "drawn by the trial's seed, in proportion to the classes",
    )
    unlabelled: bool | int = later_field(
        False,
        description="whether the other rows serve the teacher's signal without their label: all of "
        "them, or a number",
    )
    lora: Lora | None = later_field(
        None, description="train a low-rank adapter instead of all weights; requires peft"
    )
    warm_up: FineTune | None = Field(
        None,
        description="fine-tuning before distillation, on the labelled rows; distillation starts "
        "from its best checkpoint on the validation split; its seed is the trial's",
    )
