"""The selection step: the d_S units of largest importance, in rank order (Eqs. 3 and 4)."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from flexkd_core import kept_share, select_units

from ..plan import Step
from ..store import Store


def make_selection(step: Step, store: Store) -> None:
    """Publish `units.json`: the selected teacher units, the most important one first."""
    importance_D = read_importance(step.needs["score"], store)
    units = [int(unit) for unit in select_units(importance_D, step.identity["count"])]
    with store.publish(step) as draft:
        (draft.folder / "units.json").write_text(json.dumps(units) + "\n")
        draft.summary |= {
            "d_teacher": len(importance_D),
            "d_student": len(units),
            "kept_share": float(kept_share(importance_D, units)),
        }


def read_importance(step: Step, store: Store) -> NDArray[np.float64]:
    """G of a published score step, by unit."""
    importance: NDArray[np.float64] = load_file(store.folder(step) / "importance.safetensors")["G"]
    return importance


def read_units(step: Step, store: Store) -> list[int]:
    """The selected units of a published selection, in rank order."""
    units: list[int] = json.loads((store.folder(step) / "units.json").read_text())
    return units
