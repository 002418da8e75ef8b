"""Publishes the importance of a layer's units: the sum of the partial sums of a teacher pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from flexkd_core import importance_digest

from ..artifacts import Artifacts
from ..plan import ScoreConfig
from ..store.publishing import Draft
from ..tracking import Progress
from .context import Output, RunContext
from .partial_sum import Moments
from .score_geometry import geometry_of
from .score_sums import ScoreSums


def run(
    config: ScoreConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish G and the moments from the chunks of a `ScoringPass`.

    - `importance.safetensors`: `G`, and of each half of the data `G_even` and `G_odd`.
    - `moment.safetensors`: `M`, the second moment of the gradients, and `M_even` and `M_odd`.
    - `features.safetensors`: `mean` and `covariance` of the hidden states, and those of each half.
    - `geometry.json`: spectra and effective dimensions.

    Partial sums are added in the order of the chunks, because fp64 addition is not associative.
    """
    names = sorted(out.store.intact_parts(out.step))
    sums = ScoreSums.of(out.store.read_part(out.step, name) for name in names)
    contribution = config.importance.kind == "contribution"
    importance_D = sums.mean(contribution=contribution)
    halves = sums.half_means(contribution=contribution)
    assert sums.importance is not None, "a pass has at least one chunk"
    with out.publish() as draft:
        arrays = {"G": importance_D}
        if halves is not None:
            arrays |= {"G_even": halves[0], "G_odd": halves[1]}
        save_file(arrays, draft.folder / "importance.safetensors")
        draft.summary |= {
            "digest": importance_digest(importance_D),
            "examples": sums.importance.count,
        }
        moments = sums.all_moments
        if moments is not None:
            _save_moments(draft, moments, sums.moments)
            geometry = geometry_of(moments, sums.moments)
            (draft.folder / "geometry.json").write_text(json.dumps(geometry) + "\n")
            draft.summary["geometry"] = {
                name: value for name, value in geometry.items() if "spectrum" not in name
            }
    return iter(())


def _save_moments(draft: Draft, moments: Moments, halves: Mapping[int, Moments]) -> None:
    gradients: dict[str, NDArray[np.float64]] = {"M": moments.gradients.mean()}
    features = _features(moments, "")
    if len(halves) == 2:
        for half, name in enumerate(("_even", "_odd")):
            gradients[f"M{name}"] = halves[half].gradients.mean()
            features |= _features(halves[half], name)
    save_file(gradients, draft.folder / "moment.safetensors")
    save_file(features, draft.folder / "features.safetensors")


def _features(moments: Moments, name: str) -> dict[str, NDArray[np.float64]]:
    return {
        f"mean{name}": moments.features.mean(),
        f"covariance{name}": moments.features.covariance(),
    }
