"""Publishes the units or directions of a teacher layer that a student matches (Eqs. 3 and 4).

Shapes: D teacher units, C selected units or directions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from flexkd_core import (
    Directions,
    contribution_directions,
    drawn_order,
    jaccard,
    kept_share,
    pair_agreement,
    recurring_directions,
    select_diverse,
    select_units,
    spectrum,
    subspace_overlap,
    top_directions,
)
from flexkd_core.geometry import kept_share as kept_moment

from ..artifacts import (
    Artifacts,
    read_importance,
    read_importance_halves,
    read_moments,
)
from ..plan import SelectConfig
from ..tracking import Progress
from .context import Output, RunContext

Array = NDArray[np.float64]
HALVES = ("_even", "_odd")


def run(
    config: SelectConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish the selection.

    - `units.json`: the selected units, the first one with the highest rank; `weights.json`: their
      importance.
    - `directions.safetensors`, for a target of directions: `U` (D, d_S), and their eigenvalues
      `values`. The units are published in any case, for comparison.

    The summary says how much of the importance is kept, and how stable the selection is: it is made
    again from each half of the data, and the two are compared.

    Raises:
        ValueError: moments are needed, but the score kept none.
    """
    importance_D = read_importance(config.score, inputs)
    positive_D = importance_D.clip(min=0)  # a contribution may be negative
    halves = read_importance_halves(config.score, inputs)
    moments = read_moments(config.score, inputs)
    units = _units(config, importance_D, moments, "")
    summary: dict[str, Any] = {
        "d_teacher": len(importance_D),
        "d_student": len(units),
        "target": config.target,
        "kept_share": float(kept_share(positive_D, units)),
    }
    if config.order != "highest":
        summary["select"] = config.order
    moment_DD = moments.get("M")
    if moment_DD is not None and moment_DD.any():
        summary["kept_moment"] = float(kept_moment(moment_DD, units))
        summary["rank"] = _rank(moment_DD)
    stability: dict[str, Any] = {}
    if halves is not None and config.order not in {"random", "origin"}:
        stability |= _unit_stability(config, halves, moments)
    directions = None
    if config.target != "units":
        directions = _directions(config, moments, "")
        stability |= _direction_stability(config, moments)
    if stability:
        summary["stability"] = stability
    with out.publish() as draft:
        draft.summary |= summary
        (draft.folder / "units.json").write_text(json.dumps(units) + "\n")
        weights = [float(positive_D[unit]) for unit in units]
        (draft.folder / "weights.json").write_text(json.dumps(weights) + "\n")
        if directions is not None:
            columns = {"U": directions.vectors_DC, "values": directions.values_C}
            save_file(columns, draft.folder / "directions.safetensors")
    return iter(())


def _units(
    config: SelectConfig, importance_D: Array, moments: Mapping[str, Array], half: str
) -> list[int]:
    """The selected units. half: of the data that the importance is computed from, "" for all."""
    count, total = config.count, len(importance_D)
    if config.order == "diverse":
        covariance_DD = _stored(moments, f"covariance{half}", "diverse units")
        return select_diverse(importance_D.clip(min=0), covariance_DD, count)
    if config.order == "random":
        return [int(unit) for unit in drawn_order(total, config.seed)[:count]]
    if config.order == "origin":
        assert config.origin is not None, "an aligned student is cut at the highest units"
        return config.origin.kept_units(total)
    return [int(unit) for unit in select_units(importance_D, count, order=config.order)]


def _directions(config: SelectConfig, moments: Mapping[str, Array], half: str) -> Directions:
    moment_DD = _stored(moments, f"M{half}", "directions")
    if config.target == "directions":
        return top_directions(moment_DD, config.count)
    covariance_DD = _stored(moments, f"covariance{half}", "directions")
    return contribution_directions(moment_DD, covariance_DD, config.count)


def _stored(moments: Mapping[str, Array], name: str, what: str) -> Array:
    if name not in moments:
        raise ValueError(f"{what} need the second moments; set score.geometry: true")
    return moments[name]


def _rank(moment_DD: Array) -> int:
    """The numerical rank: eigenvalues above the rounding of the largest one."""
    values_D = spectrum(moment_DD)
    return int((values_D > values_D[0] * len(values_D) * np.finfo(np.float64).eps).sum())


def _unit_stability(
    config: SelectConfig, halves: tuple[Array, Array], moments: Mapping[str, Array]
) -> dict[str, float]:
    """`units`: Jaccard overlap; `pairs`: share of ranks with the same unit."""
    first, second = (
        _units(config, importance_D, moments, half)
        for importance_D, half in zip(halves, HALVES, strict=True)
    )
    return {"units": jaccard(first, second), "pairs": pair_agreement(first, second)}


def _direction_stability(config: SelectConfig, moments: Mapping[str, Array]) -> dict[str, float]:
    """`subspace`: overlap of the spans; `directions`: how many recur with |cos| ≥ 0.9.

    Contribution directions are compared by the correlation of their features.
    """
    if "M_even" not in moments:
        return {}
    first, second = (_directions(config, moments, half).vectors_DC for half in HALVES)
    covariance_DD = None if config.target == "directions" else moments["covariance"]
    return {
        "subspace": subspace_overlap(first, second, covariance_DD=covariance_DD),
        "directions": recurring_directions(first, second, covariance_DD=covariance_DD),
    }
