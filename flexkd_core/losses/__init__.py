"""The losses, as plain functions of two matrices of rows; every one returns a scalar to minimise.

Callers mask padding and gather rows over workers first. Adding a loss is one file here and one
line in its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from torch import Tensor

from flexkd_core.losses.cka import cka_loss, linear_cka
from flexkd_core.losses.correlation import correlation_loss, unit_correlation
from flexkd_core.losses.distance import cosine_loss, mse_loss
from flexkd_core.losses.forward_kl import forward_kl
from flexkd_core.losses.projector import Projector
from flexkd_core.losses.squared_error import squared_error

__all__ = [
    "FEATURE_LOSSES",
    "LOGIT_LOSSES",
    "Loss",
    # between paired units
    "correlation_loss",
    "unit_correlation",
    "mse_loss",
    "cosine_loss",
    # between features of different widths
    "cka_loss",
    "linear_cka",
    "Projector",
    # between outputs
    "forward_kl",
    "squared_error",
]


class Loss(Protocol):
    """What every entry of the tables is: student and teacher rows in, a scalar out."""

    def __call__(self, student: Tensor, teacher: Tensor, /) -> Tensor:
        """The loss at its default settings; each function documents its keyword settings."""
        ...


FEATURE_LOSSES: Final[Mapping[str, Loss]] = MappingProxyType(
    {
        "correlation": correlation_loss,
        "cka": cka_loss,
        "mse": mse_loss,
        "cosine": cosine_loss,
    }
)
"""Losses between hidden features (N, S) and (N, T); all but `cka` need S = T."""

LOGIT_LOSSES: Final[Mapping[str, Loss]] = MappingProxyType(
    {
        "forward_kl": forward_kl,
        "squared_error": squared_error,
    }
)
"""Losses between model outputs: `forward_kl` for classes, `squared_error` for one output."""
