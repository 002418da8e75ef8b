"""The importance of a score step, and the units and directions of a select step.

Shapes: D units.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ..plan import Step
from .published import Artifacts

Array = NDArray[np.float64]


def read_importance(step: Step, artifacts: Artifacts) -> Array:
    """G of a published score step, by unit."""
    return _load(artifacts.file(step, "importance.safetensors"))["G"]


def read_importance_halves(step: Step, artifacts: Artifacts) -> tuple[Array, Array] | None:
    """G of the two halves of the data; None if they were too few."""
    arrays = _load(artifacts.file(step, "importance.safetensors"))
    return (arrays["G_even"], arrays["G_odd"]) if "G_even" in arrays else None


def read_moment(step: Step, artifacts: Artifacts) -> Array | None:
    """E[g gᵀ] of a published score step; None if it was not stored."""
    return read_moments(step, artifacts).get("M")


def read_moments(step: Step, artifacts: Artifacts) -> Mapping[str, Array]:
    """`M` and the `covariance` of the features; those of each half with `_even` and `_odd`.

    Empty if the score did not store them.
    """
    folder = artifacts.folder(step)
    files = [folder / f"{name}.safetensors" for name in ("moment", "features")]
    return {name: array for file in files if file.exists() for name, array in _load(file).items()}


def read_units(step: Step, artifacts: Artifacts) -> list[int]:
    """The selected units of a published selection, in rank order."""
    units: list[int] = json.loads(artifacts.file(step, "units.json").read_text())
    return units


def read_unit_weights(step: Step, artifacts: Artifacts) -> dict[int, float]:
    """The importance of each selected unit, at least 0."""
    weights: list[float] = json.loads(artifacts.file(step, "weights.json").read_text())
    return dict(zip(read_units(step, artifacts), weights, strict=True))


def read_directions(step: Step, artifacts: Artifacts) -> Array:
    """The directions (D, d_S) of a published selection of directions."""
    return _load_directions(step, artifacts)["U"]


def read_direction_weights(step: Step, artifacts: Artifacts) -> Array:
    """The eigenvalues (d_S,) of the directions."""
    return _load_directions(step, artifacts)["values"]


def _load_directions(step: Step, artifacts: Artifacts) -> Mapping[str, Array]:
    return _load(artifacts.file(step, "directions.safetensors"))


def _load(file: Path) -> Mapping[str, Array]:
    arrays: Mapping[str, Array] = load_file(file)
    return arrays
