"""What is compared: methods, axes, seeds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from .methods import Method, MethodName
from .scheduler import NoScheduler, Scheduler
from .search import GridSearch, Search
from .section import Section
from .space import Distribution


class Sweep(Section):
    """Every method, with every value of every axis that affects it, with every seed."""

    methods: tuple[Method, ...] = Field(
        min_length=1,
        description="a list in place of a setting is an axis of that method, a distribution is "
        "searched",
    )
    axes: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="dotted path of the spec: its values"
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)] = (
        Field((10, 20, 30), description="results are aggregated over them")
    )
    search: Search = Field(
        default_factory=GridSearch, description="which settings are tried: all, or some drawn"
    )
    space: dict[str, Distribution] = Field(
        default_factory=dict,
        description="dotted path of the spec: what it is drawn from; a distribution in place of a "
        "method's setting, or of an axis's values, is moved here when the spec is read",
    )
    scheduler: Scheduler = Field(
        default_factory=NoScheduler, description="whether trials that do badly are stopped early"
    )
    baseline: MethodName | None = Field(
        "ft", description="method that the others are compared with"
    )

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is listed twice; list each once")
        return seeds

    @field_validator("axes")
    @classmethod
    def _no_empty_axis(cls, axes: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for path, values in axes.items():
            if not values:
                raise ValueError(f"axis {path} has no values; give it at least one")
        return axes
