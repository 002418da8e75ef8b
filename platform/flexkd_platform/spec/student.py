"""The student: its size, and where its first weights come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section

Layers = Annotated[
    int | tuple[int, ...],
    Field(description="how many layers, spread evenly over the teacher's, or a list of them"),
]


class SlicedInit(Section):
    """A smaller copy of the pretrained teacher: chosen layers, chosen hidden units."""

    kind: Literal["sliced"] = "sliced"
    layers: Layers = 3
    hidden_size: int = Field(128, gt=0, description="width; a multiple of the teacher's head size")
    units: Literal["even", "first"] = Field(
        "even", description="which hidden units are kept: evenly spaced, or the first ones"
    )


class RandomInit(Section):
    """The teacher's architecture, smaller, with random weights."""

    kind: Literal["random"]
    layers: int = Field(3, gt=0, description="hidden layers")
    hidden_size: int = Field(128, gt=0, description="width; a multiple of the teacher's head size")


class PretrainedInit(Section):
    """A pretrained model of its own."""

    kind: Literal["pretrained"]
    model: str = Field(description="folder, hub name or package:NAME")
    revision: str | None = Field(None, description="commit, tag or branch of a hub model")


StudentInit = Annotated[SlicedInit | RandomInit | PretrainedInit, Field(discriminator="kind")]


class Student(Section):
    """The model that learns."""

    init: StudentInit = Field(default_factory=SlicedInit)
