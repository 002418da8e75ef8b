"""Distributions of searched settings: `alpha: {log_uniform: [0.01, 1]}` instead of a number."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, TypeVar

from pydantic import Discriminator, Field, Tag, field_validator

from .section import Section

Bounds = TypeVar("Bounds", tuple[int, int], tuple[float, float])

DIGITS = 4
"""Significant digits of a drawn number, so that tables show the exact value."""


LARGEST = 2**53
"""Largest magnitude of an integer bound: floats represent all integers up to here."""


class Drawn(Section):
    """A distribution of one setting."""

    @property
    @abstractmethod
    def edges(self) -> tuple[Any, ...]:
        """The listed values, or the lowest and the highest one."""

    @abstractmethod
    def at(self, share: float) -> Any:
        """The quantile of the distribution at `share`, in [0, 1)."""


class Uniform(Drawn):
    """Every number of a range is equally likely."""

    uniform: tuple[float, float] = Field(description="lowest and highest value")

    @field_validator("uniform")
    @classmethod
    def _rising(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        return _checked(bounds)

    @property
    def edges(self) -> tuple[Any, ...]:
        """Lowest and highest."""
        return self.uniform

    def at(self, share: float) -> float:
        """low + share·(high − low)."""
        low, high = self.uniform
        return readable(low + share * (high - low), self.uniform)


class LogUniform(Drawn):
    """Every order of magnitude of a range is equally likely."""

    log_uniform: tuple[float, float] = Field(description="lowest, more than 0, and highest value")

    @field_validator("log_uniform")
    @classmethod
    def _rising(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] <= 0:
            raise ValueError(f"{bounds[0]:g} has no logarithm; start above 0")
        return _checked(bounds)

    @property
    def edges(self) -> tuple[Any, ...]:
        """Lowest and highest."""
        return self.log_uniform

    def at(self, share: float) -> float:
        """low·(high / low)^share."""
        low, high = self.log_uniform
        # high / low itself may overflow a float.
        drawn = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return readable(drawn, self.log_uniform)


class IntUniform(Drawn):
    """Every whole number of a range is equally likely, both ends included."""

    int_uniform: tuple[int, int] = Field(description="lowest and highest value")

    @field_validator("int_uniform")
    @classmethod
    def _rising(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if max(map(abs, bounds)) > LARGEST:
            raise ValueError("numbers beyond 2^53 cannot be drawn; give smaller ones")
        return _checked(bounds)

    @property
    def edges(self) -> tuple[Any, ...]:
        """Lowest and highest."""
        return self.int_uniform

    def at(self, share: float) -> int:
        """low + ⌊share·(high − low + 1)⌋."""
        low, high = self.int_uniform
        return low + math.floor(share * (high - low + 1))


class Choice(Drawn):
    """Every listed value is equally likely."""

    choice: tuple[Any, ...] = Field(min_length=1, description="the values")

    @property
    def edges(self) -> tuple[Any, ...]:
        """All of them."""
        return self.choice

    def at(self, share: float) -> Any:
        """Value number ⌊share·n⌋."""
        return self.choice[math.floor(share * len(self.choice))]


DISTRIBUTIONS = ("uniform", "log_uniform", "int_uniform", "choice")
"""The keys that mark a mapping as a distribution."""


def is_distribution(value: Any) -> bool:
    """Whether a value in the YAML is a distribution."""
    return isinstance(value, dict) and any(name in value for name in DISTRIBUTIONS)


def _kind(value: Any) -> str | None:
    names = type(value).model_fields if isinstance(value, Drawn) else value
    if not isinstance(names, dict):
        return None
    return next((name for name in DISTRIBUTIONS if name in names), None)


Distribution = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[IntUniform, Tag("int_uniform")]
    | Annotated[Choice, Tag("choice")],
    Discriminator(
        _kind,
        custom_error_type="no_distribution",
        custom_error_message=f"a distribution is one of {', '.join(DISTRIBUTIONS)}",
    ),
]


def readable(value: float, bounds: tuple[float, float]) -> float:
    """A drawn number with few digits, within its bounds."""
    low, high = bounds
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def _checked(bounds: Bounds) -> Bounds:
    if bounds[0] >= bounds[1]:
        raise ValueError(f"{bounds[0]:g} is not less than {bounds[1]:g}; give the lowest first")
    return bounds
