"""Publishes the units or directions of a teacher layer that a student matches (Eqs. 3 and 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from safetensors.numpy import save_file

from flexkd_core import kept_share, select_units, top_directions
from flexkd_core.geometry import kept_share as kept_moment

from ..artifacts import Artifacts, read_importance, read_moment
from ..plan import SelectConfig
from ..tracking import Progress
from .context import Output, RunContext


def run(
    config: SelectConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish `units.json`, the selected units, the most important one first.

    For target `directions` also `directions.safetensors`: U (D, d_S), the main eigenvectors of
    E[g gᵀ]. The units are published in any case, for comparison.

    Raises:
        ValueError: directions are requested, but the score kept no gradients.
    """
    importance_D = read_importance(config.score, inputs)
    units = [int(unit) for unit in select_units(importance_D, config.count)]
    moment_DD = read_moment(config.score, inputs)
    directions = config.target == "directions"
    if directions and moment_DD is None:
        raise ValueError("directions need the gradients' second moment; set score.geometry: true")
    with out.publish() as draft:
        (draft.folder / "units.json").write_text(json.dumps(units) + "\n")
        draft.summary |= {
            "d_teacher": len(importance_D),
            "d_student": len(units),
            "target": config.target,
            "kept_share": float(kept_share(importance_D, units)),
        }
        if moment_DD is not None and moment_DD.any():
            draft.summary["kept_moment"] = float(kept_moment(moment_DD, units))
        if directions:
            assert moment_DD is not None
            columns = {"U": top_directions(moment_DD, config.count)}
            save_file(columns, draft.folder / "directions.safetensors")
    return iter(())
