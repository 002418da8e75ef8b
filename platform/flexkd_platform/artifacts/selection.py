"""The importance of a score step, and the units and directions of a select step."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ..plan import Step
from .published import Artifacts


def read_importance(step: Step, artifacts: Artifacts) -> NDArray[np.float64]:
    """G of a published score step, by unit."""
    file = artifacts.file(step, "importance.safetensors")
    importance: NDArray[np.float64] = load_file(file)["G"]
    return importance


def read_moment(step: Step, artifacts: Artifacts) -> NDArray[np.float64] | None:
    """E[g gᵀ] of a published score step; None if it was not stored."""
    file = artifacts.folder(step) / "moment.safetensors"
    return load_file(file)["M"] if file.exists() else None


def read_units(step: Step, artifacts: Artifacts) -> list[int]:
    """The selected units of a published selection, in rank order."""
    units: list[int] = json.loads(artifacts.file(step, "units.json").read_text())
    return units


def read_directions(step: Step, artifacts: Artifacts) -> NDArray[np.float64]:
    """The directions (D, d_S) of a published selection of directions."""
    file = artifacts.file(step, "directions.safetensors")
    directions: NDArray[np.float64] = load_file(file)["U"]
    return directions
