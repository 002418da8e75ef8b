"""Chunks and parts: every row in one chunk, every chunk in one part, few parts, the same result."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from flexkd_core import FeatureMoment, GradientMoment, ImportanceSum
from flexkd_platform.artifacts import read_moments, read_responses
from flexkd_platform.steps import GenerationPass, RunContext, ScoringPass, execute, passes
from flexkd_platform.steps import chunk_layout as layout
from flexkd_platform.steps.chunk_layout import MOST_PARTS, Layout
from flexkd_platform.steps.partial_sum import Moments, PartialSum, pack, unpack


@given(rows=st.integers(1, 3_000_000), chunk=st.integers(1, 5000))
def test_parts_hold_every_chunk_once_and_are_few(rows: int, chunk: int) -> None:
    found = Layout(rows, chunk)
    parts = list(found.parts)
    assert len(parts) <= MOST_PARTS
    sizes = [len(found.part(first)) for first in parts]
    assert sum(sizes) == found.chunks
    assert set(sizes[:-1]) <= {found.per_part}
    assert 0 < sizes[-1] <= found.per_part
    assert [found.part(first)[0] for first in parts] == parts
    names = [found.name(first, "json") for first in parts]
    assert sorted(names) == names
    assert len(set(names)) == len(parts)
    first, last = found.bounds(0), found.bounds(found.chunks - 1)
    assert first == (0, min(chunk, rows))
    assert last[1] == rows
    assert last[0] < rows


@pytest.mark.parametrize("chunks", [1, 2, MOST_PARTS])
def test_few_chunks_have_a_part_each(chunks: int) -> None:
    found = Layout(chunks * 8, 8)
    assert found.per_part == 1
    assert found.parts == range(chunks)
    assert found.name(chunks - 1, "json") == f"chunk-{chunks - 1:08d}.json"


def test_a_part_of_several_chunks_names_both_ends() -> None:
    found = Layout((2 * MOST_PARTS + 1) * 8, 8)
    assert found.per_part == 3
    assert found.name(3, "safetensors") == "chunk-00000003-00000005.safetensors"
    assert found.part(2 * MOST_PARTS - 2) == range(2 * MOST_PARTS - 2, 2 * MOST_PARTS + 1)


MOMENTS = {
    f"{name}{half}" for name in ("M", "mean", "covariance") for half in ("", "_even", "_odd")
}


# --- how many chunks a part holds changes no result ---------------------------------------------


def copy_of(lab: Any, folder: Path, kinds: tuple[str, ...]) -> Any:
    """A lab with the same data and teacher, and no scores."""
    for kind in kinds:
        shutil.copytree(Path(lab.store.root) / "steps" / kind, folder / "steps" / kind)
    store = type(lab.store)(lab.store.filesystem, str(folder), str(folder))
    return type(lab)(lab.folder, store, lab.text, lab.preflight)


def outcome(lab: Any, request: ScoringPass) -> dict[str, Any]:
    """G of every score, and rows of every cache."""
    found: dict[str, Any] = {}
    for step in request.steps:
        folder = lab.store.folder(step)
        if step.kind == "score":
            found[step.hash] = (folder / "importance.safetensors").read_bytes()
        else:
            parts = [load_file(p)["rows"] for p in sorted(folder.glob("chunk-*"))]
            found[step.hash] = torch.cat(parts).numpy().tobytes()
            assert lab.store.manifest(step).summary["chunks"] == 4
    return found


@pytest.mark.parametrize(("most", "parts"), [(1, 1), (2, 2), (3, 2)])
def test_g_and_caches_are_the_same_in_any_parts(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, parts: int
) -> None:
    """The moments are added up by part: they are the same up to rounding."""
    plan = lab.plan("sweep.axes={score.layer: [last, 0]}")
    lab.alone(plan, "dataset")
    lab.alone(plan, "teacher")
    labs = [copy_of(lab, tmp_path / name, ("dataset", "teacher")) for name in ("one", "some")]
    found = []
    for place, each in enumerate(labs):
        if place == 1:
            monkeypatch.setattr(layout, "MOST_PARTS", most)
        (request,) = passes([step for step in plan.shared if step.kind in ("score", "cache")])
        assert len(request.missing(each.store)) == (parts if place else 4)
        each.chunks(request)
        found.append(outcome(each, request))
        if place == 1:
            names = {p.name for p in each.store.folder(request.caches[0]).glob("chunk-*")}
            assert len(names) == parts
    assert found[0] == found[1]
    for score in request.scores:
        one, some = (read_moments(score, each.store) for each in labs)
        assert one.keys() == some.keys() == MOMENTS
        for name in MOMENTS:
            np.testing.assert_allclose(some[name], one[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("decoding", ["greedy", "sample"])
def test_responses_are_the_same_in_any_parts(
    world: Callable[[str, str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoding: str,
) -> None:
    lab = world("gpt2", "instruction")
    plan = lab.plan(f"sweep.methods=[{{kind: seqkd, decoding: {decoding}}}]", "score.chunk=4")
    lab.alone(plan, "dataset")
    lab.alone(plan, "base", "teacher")
    step = lab.step(plan, "generate")
    kinds = ("dataset", "base", "teacher")
    labs = [copy_of(lab, tmp_path / name, kinds) for name in ("one", "some")]
    labs[0].chunks(GenerationPass(step))
    monkeypatch.setattr(layout, "MOST_PARTS", 2)
    labs[1].chunks(GenerationPass(step))
    one, some = (read_responses(step, each.store) for each in labs)
    assert one == some
    assert json.dumps(one) != json.dumps([one[0]] * len(one))
    counts = [len(list(each.store.folder(step).glob("chunk-*"))) for each in labs]
    assert counts[0] > counts[1] == 2


def partial_of(units: int, *, moments: bool) -> PartialSum:
    """A sum over one example whose gradient and features are 1."""
    importance = ImportanceSum(np.full(units, 1.0), 1)
    if not moments:
        return PartialSum(importance)
    ones_DD = np.ones((units, units))
    return PartialSum(
        importance,
        Moments(GradientMoment(ones_DD, 1, 1), FeatureMoment(ones_DD, np.ones(units), 1, 1)),
    )


@pytest.mark.parametrize(("units", "moments"), [(4096, False), (256, True)])
def test_a_reduction_holds_one_part_at_a_time(
    lab: Any, tmp_path: Path, units: int, moments: bool
) -> None:
    """Eight times the parts, and the same memory: tracemalloc counts numpy's arrays too."""
    plan = lab.plan(f"score.geometry={str(moments).lower()}")
    lab.alone(plan, "dataset")
    step = lab.step(plan, "score")
    part = pack(dict.fromkeys(range(16), partial_of(units, moments=moments)))
    peaks = []
    for parts in (8, 64):
        each = copy_of(lab, tmp_path / str(parts), ("dataset",))
        for number in range(parts):
            each.store.write_part(step, f"chunk-{number:08d}.safetensors", part)
        tracemalloc.start()
        list(execute(step, each.store, RunContext.alone(1)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert each.store.manifest(step).summary["examples"] == 16 * parts
    assert peaks[0] < (40 * units**2 * 8 if moments else 4 * len(part))
    assert peaks[1] < peaks[0] + len(part)


def test_a_part_holds_two_matrices_a_half_however_many_chunks_it_has() -> None:
    units = 64
    partial = partial_of(units, moments=True)
    few, many = (len(pack(dict.fromkeys(range(chunks), partial))) for chunks in (2, 40))
    assert many - few < 38 * (units + 2) * 8 + 100
    importance, moments = unpack(pack(dict.fromkeys(range(5), partial)))
    assert list(importance) == [0, 1, 2, 3, 4]
    assert [moments[half].gradients.count for half in (0, 1)] == [3, 2]
    np.testing.assert_array_equal(moments[0].gradients.sum_DD, np.full((units, units), 3.0))
    np.testing.assert_array_equal(moments[1].features.sum_D, np.full(units, 2.0))


def test_packed_moments_are_unpacked_to_the_same_bits() -> None:
    draw = np.random.default_rng(0)
    square_DD = draw.normal(size=(7, 7))
    square_DD = square_DD + square_DD.T
    moments = Moments(
        GradientMoment(square_DD, 3, 9), FeatureMoment(square_DD * 2, draw.normal(size=7), 3, 5)
    )
    _, found = unpack(pack({1: PartialSum(ImportanceSum(np.ones(7), 3), moments)}))
    assert list(found) == [1]
    np.testing.assert_array_equal(found[1].gradients.sum_DD, square_DD)
    np.testing.assert_array_equal(found[1].features.scatter_DD, square_DD * 2)
    np.testing.assert_array_equal(found[1].features.sum_D, moments.features.sum_D)
    assert (found[1].gradients.count, found[1].gradients.rows) == (3, 9)
    assert (found[1].features.count, found[1].features.rows) == (3, 5)
