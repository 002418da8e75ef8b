"""The selection step: what of a teacher layer the student is to match (Eqs. 3 and 4)."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from flexkd_core import kept_share, select_units, top_directions
from flexkd_core.geometry import kept_share as kept_moment

from ..plan import Step
from ..store import Store


def make_selection(step: Step, store: Store) -> None:
    """Publish `units.json`, the selected units with the most important one first.

    For target `directions` also `directions.safetensors`: U (D, d_S), the main eigenvectors of
    E[g gᵀ]. The units are there all the same, to compare with.

    Raises:
        ValueError: directions are asked for, and the score kept no gradients.
    """
    score = step.needs["score"]
    importance_D = read_importance(score, store)
    count = step.identity["count"]
    units = [int(unit) for unit in select_units(importance_D, count)]
    moment_DD = read_moment(score, store)
    if step.identity["target"] == "directions" and moment_DD is None:
        raise ValueError("directions need the gradients' second moment; set score.geometry: true")
    with store.publish(step) as draft:
        (draft.folder / "units.json").write_text(json.dumps(units) + "\n")
        draft.summary |= {
            "d_teacher": len(importance_D),
            "d_student": len(units),
            "target": step.identity["target"],
            "kept_share": float(kept_share(importance_D, units)),
        }
        if moment_DD is not None and moment_DD.any():
            draft.summary["kept_moment"] = float(kept_moment(moment_DD, units))
        if step.identity["target"] == "directions":
            assert moment_DD is not None
            directions = {"U": top_directions(moment_DD, count)}
            save_file(directions, draft.folder / "directions.safetensors")


def read_importance(step: Step, store: Store) -> NDArray[np.float64]:
    """G of a published score step, by unit."""
    importance: NDArray[np.float64] = load_file(store.file(step, "importance.safetensors"))["G"]
    return importance


def read_moment(step: Step, store: Store) -> NDArray[np.float64] | None:
    """E[g gᵀ] of a published score step; None where it kept no gradients."""
    file = store.folder(step) / "moment.safetensors"
    return load_file(file)["M"] if file.exists() else None


def read_units(step: Step, store: Store) -> list[int]:
    """The selected units of a published selection, in rank order."""
    units: list[int] = json.loads(store.file(step, "units.json").read_text())
    return units


def read_directions(step: Step, store: Store) -> NDArray[np.float64]:
    """The directions (D, d_S) of a published selection of them."""
    directions: NDArray[np.float64] = load_file(store.file(step, "directions.safetensors"))["U"]
    return directions
