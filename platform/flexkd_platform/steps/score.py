"""Publishes the importance of a layer's units: the partial sums of a teacher pass, added up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.numpy import save_file as save_arrays_file

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
from .scored_chunk import PartialSum


def pack(partials: Sequence[PartialSum]) -> bytes:
    """The partial sums of a few chunks as the content of a partial artifact."""
    arrays = {
        "total": np.stack([partial.total_D for partial in partials]),
        "count": np.array([partial.count for partial in partials]),
    }
    gradients = [p.gradients_NKD for p in partials if p.gradients_NKD is not None and p.count]
    if gradients:
        arrays["gradients"] = np.concatenate(gradients)
    return bytes(save_arrays(arrays))


def _unpack(content: bytes) -> Iterator[PartialSum]:
    """The inverse of `pack`; a chunk whose examples have no gradients has None."""
    arrays = load_arrays(content)
    counts = [int(count) for count in arrays["count"]]
    start = 0
    for total_D, count in zip(arrays["total"].reshape(len(counts), -1), counts, strict=True):
        gradients = arrays["gradients"][start : start + count] if "gradients" in arrays else None
        yield PartialSum(total_D, count, gradients if count else None)
        start += count


def run(
    config: ScoreConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish G, and the second moment of the gradients, from what a `ScoringPass` has written.

    Partial sums are added in the order of the chunks, because fp64 addition is not associative, and
    with one partial artifact in memory at a time.
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
        save_arrays_file({"G": total.mean()}, draft.folder / "importance.safetensors")
        draft.summary |= {"digest": total.digest(), "examples": total.count}
        if moment is not None:
            moment_DD = moment.mean()
            save_arrays_file({"M": moment_DD}, draft.folder / "moment.safetensors")
            geometry = _geometry(moment_DD)
            (draft.folder / "geometry.json").write_text(json.dumps(geometry) + "\n")
            draft.summary["geometry"] = {k: v for k, v in geometry.items() if k != "spectrum"}
    return iter(())


def _partial_sums(out: Output) -> Iterator[PartialSum]:
    """Of every chunk, in order."""
    for name in sorted(out.store.parts(out.step)):
        yield from _unpack(out.store.read_part(out.step, name))


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
