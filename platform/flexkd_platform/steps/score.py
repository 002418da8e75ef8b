"""Publishes the importance of a layer's units: the sum of the partial sums of a teacher pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from flexkd_core import (
    GradientMoment,
    ImportanceSum,
    effective_dimension,
    participation_ratio,
    spectrum,
)

from ..artifacts import Artifacts
from ..plan import ScoreConfig
from ..tracking import Progress
from .context import Output, RunContext
from .partial_sum import PartialSum, unpack


def run(
    config: ScoreConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish G and the second moment of the gradients from the chunks of a `ScoringPass`.

    Partial sums are added in the order of the chunks, because fp64 addition is not associative. One
    partial artifact is in memory at a time.
    """
    total: ImportanceSum | None = None
    moment: GradientMoment | None = None
    for partial in _partial_sums(out):
        added = ImportanceSum(partial.total_D, partial.count)
        total = added if total is None else total + added
        if partial.gradients_NKD is not None:
            squares = _moment(partial.gradients_NKD)
            moment = squares if moment is None else moment + squares
    assert total is not None, "a pass has at least one chunk"
    with out.publish() as draft:
        save_file({"G": total.mean()}, draft.folder / "importance.safetensors")
        draft.summary |= {"digest": total.digest(), "examples": total.count}
        if moment is not None:
            moment_DD = moment.mean()
            save_file({"M": moment_DD}, draft.folder / "moment.safetensors")
            geometry = _geometry(moment_DD)
            (draft.folder / "geometry.json").write_text(json.dumps(geometry) + "\n")
            draft.summary["geometry"] = {k: v for k, v in geometry.items() if k != "spectrum"}
    return iter(())


def _partial_sums(out: Output) -> Iterator[PartialSum]:
    """The partial sums of all chunks, in order."""
    for name in sorted(out.store.parts(out.step)):
        yield from unpack(out.store.read_part(out.step, name))


def _moment(gradients_NKD: NDArray[np.float64]) -> GradientMoment:
    examples, outputs, units = gradients_NKD.shape
    gradients_ND = gradients_NKD.reshape(-1, units)
    return GradientMoment(gradients_ND.T @ gradients_ND / outputs, examples)


def _geometry(moment_DD: NDArray[np.float64]) -> dict[str, Any]:
    values_D = spectrum(moment_DD)
    if not values_D.any():
        return {"spectrum": values_D.tolist()}
    return {
        "participation_ratio": participation_ratio(moment_DD),
        "effective_dimension": effective_dimension(moment_DD),
        "spectrum": values_D.tolist(),
    }
