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

from flexkd_platform.artifacts import read_responses
from flexkd_platform.steps import GenerationPass, RunContext, ScoringPass, execute, passes
from flexkd_platform.steps import chunk_layout as layout
from flexkd_platform.steps.chunk_layout import MOST_PARTS, Layout
from flexkd_platform.steps.partial_sum import PartialSum, pack


@given(rows=st.integers(1, 3_000_000), chunk=st.integers(1, 5000))
def test_parts_hold_every_chunk_once_and_are_few(rows: int, chunk: int) -> None:
    found = Layout(rows, chunk)
    parts = list(found.parts_of(range(found.chunks)))
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
    assert found.parts_of(range(chunks)) == range(chunks)
    assert found.name(chunks - 1, "json") == f"chunk-{chunks - 1:08d}.json"


def test_a_part_of_several_chunks_names_both_ends() -> None:
    found = Layout((2 * MOST_PARTS + 1) * 8, 8)
    assert found.per_part == 3
    assert found.name(3, "safetensors") == "chunk-00000003-00000005.safetensors"
    assert found.part(2 * MOST_PARTS - 2) == range(2 * MOST_PARTS - 2, 2 * MOST_PARTS + 1)


@given(bounds=st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_the_parts_of_some_chunks_are_those_that_hold_them(bounds: tuple[int, int]) -> None:
    found = Layout(5000, 1)
    chunks = set(range(*bounds))
    every = found.parts_of(range(5000))
    holding = [first for first in every if chunks & set(found.part(first))]
    assert list(found.parts_of(range(*bounds))) == holding


# --- how many chunks a part holds changes no result ---------------------------------------------


def copy_of(lab: Any, folder: Path, kinds: tuple[str, ...]) -> Any:
    """A lab with the same data and teacher, and no scores."""
    for kind in kinds:
        shutil.copytree(Path(lab.store.root) / "steps" / kind, folder / "steps" / kind)
    store = type(lab.store)(lab.store.filesystem, str(folder), str(folder))
    return type(lab)(lab.folder, store, lab.text, lab.preflight)


def outcome(lab: Any, request: ScoringPass) -> dict[str, Any]:
    """Files of every score, and rows of every cache."""
    found: dict[str, Any] = {}
    for step in request.steps:
        folder = lab.store.folder(step)
        if step.kind == "score":
            files = sorted(p for p in folder.iterdir() if p.name != "manifest.json")
            found |= {f"{step.hash}/{p.name}": p.read_bytes() for p in files}
        else:
            parts = [load_file(p)["rows"] for p in sorted(folder.glob("chunk-*"))]
            found[step.hash] = torch.cat(parts).numpy().tobytes()
            assert lab.store.manifest(step).summary["chunks"] == 4
    return found


@pytest.mark.parametrize("samples", [3, 9, 17, 26])
@pytest.mark.parametrize(("most", "parts"), [(1, 1), (2, 2), (3, 2)])
def test_g_and_caches_are_the_same_in_any_parts(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: int, most: int, parts: int
) -> None:
    axes = "sweep.axes={score.layer: [last, 0]}"
    plan = lab.plan(axes, f"score.samples={samples}")
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


def test_a_score_alone_runs_no_chunk_behind_its_samples(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MOST_PARTS", 1)
    plan = lab.plan("score.samples=9")
    lab.alone(plan, "dataset")
    lab.alone(plan, "teacher")
    each = copy_of(lab, tmp_path, ("dataset", "teacher"))
    request = ScoringPass((lab.step(plan, "score"),), ())
    done = request.open(each.store)(0)
    assert done.examples == 16, "two chunks of eight, of which nine examples count"


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


def test_a_reduction_holds_one_part_at_a_time(lab: Any, tmp_path: Path) -> None:
    """Eight times the parts, and the same memory: tracemalloc counts numpy's arrays too."""
    plan = lab.plan("score.geometry=false")
    lab.alone(plan, "dataset")
    step = lab.step(plan, "score")
    units = 4096
    sums = [PartialSum(np.full(units, 1.0), 1, None)] * 16
    part = pack(sums)
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
    assert peaks[0] < 4 * len(part)
    assert peaks[1] < peaks[0] + len(part)
