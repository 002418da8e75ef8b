"""The scoring pass: chunks of training examples through the teacher, once.

A chunk gives one fp64 partial sum of importance, and its rows of the teacher cache. Chunks are
fixed by the spec, not by the workers; each is one file in the store, so a pass that is cut off
goes on where it was; the reduction adds partial sums in the order of the chunks, because fp64
addition is not associative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.numpy import save_file as save_arrays_file
from safetensors.torch import save as save_tensors

from flexkd_core import Importance, ImportanceSum, unit_importance

from ..models import head_rows, hidden_layers
from ..plan import Step
from ..store import Store
from ..tasks import encode_texts
from .dataset import Rows, read_rows, split_rows
from .teacher import load_teacher
from .worker import torch_threads

SCORING_THREADS = 1
"""Torch threads of a scoring worker, the same everywhere: they decide G's last bits."""


@dataclass(frozen=True)
class ScoringPass:
    """One pass of the teacher: what it is to yield, either or both.

    score: publishes G; only its first `samples` training rows count.
    cache: publishes hidden states and outputs of all training rows.
    """

    score: Step | None
    cache: Step | None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that the pass publishes."""
        return tuple(step for step in (self.score, self.cache) if step is not None)

    @property
    def teacher(self) -> Step:
        """The teacher that is run."""
        return self.steps[0].needs["teacher"]

    @property
    def dataset(self) -> Step:
        """The data set whose training split is read."""
        return self.steps[0].needs["dataset"]

    @property
    def chunk(self) -> int:
        """Examples of a chunk."""
        return int(self.steps[0].identity["chunk"])

    @property
    def layer(self) -> int:
        """The teacher's layer, from 0."""
        return int(self.steps[0].identity["layer"])

    def rows(self, store: Store) -> int:
        """How many training rows the pass reads: all of each chunk it touches.

        The longest row of a chunk decides its padding, and so the last bits of every score in
        it: the rows beyond `samples` are run with the others, whether or not a cache keeps them.
        """
        rows = split_rows(store.folder(self.dataset), "train")
        if self.cache is None and self.score is not None:
            chunks = -(-int(self.score.identity["samples"]) // self.chunk)
            return min(rows, chunks * self.chunk)
        return rows

    def missing(self, store: Store) -> list[int]:
        """The chunks that some step still lacks, in order; one that is published lacks none."""
        total = -(-self.rows(store) // self.chunk)
        scored = -(-int(self.score.identity["samples"]) // self.chunk) if self.score else 0
        missing: set[int] = set()
        for step in self.steps:
            if store.has(step):
                continue
            wanted = range(total if step is self.cache else min(total, scored))
            done = store.parts(step)
            missing |= {chunk for chunk in wanted if part_name(chunk) not in done}
        return sorted(missing)


@dataclass(frozen=True)
class ChunkDone:
    """A chunk whose parts are in the store. `error` says why it is not, naming the example."""

    chunk: int
    examples: int
    worker: int
    error: str = ""


def part_name(chunk: int) -> str:
    """File name of a chunk's part; names sort as the chunks do."""
    return f"chunk-{chunk:08d}.safetensors"


def passes(missing: Sequence[Step]) -> list[ScoringPass]:
    """The fewest passes that yield these score and cache steps.

    A score and a cache share a pass when they read the same layer of the same teacher in the same
    chunks.
    """
    caches = [step for step in missing if step.kind == "cache"]
    found = []
    for score in (step for step in missing if step.kind == "score"):
        match = next((cache for cache in caches if _same_pass(score, cache)), None)
        if match is not None:
            caches.remove(match)
        found.append(ScoringPass(score, match))
    return found + [ScoringPass(None, cache) for cache in caches]


def _same_pass(score: Step, cache: Step) -> bool:
    same_inputs = {r: s.hash for r, s in score.needs.items()} == {
        r: s.hash for r, s in cache.needs.items()
    }
    return same_inputs and all(score.identity[k] == cache.identity[k] for k in ("layer", "chunk"))


_PLAIN: dict[str, Any] = {"kind": "activation"}


class ChunkScorer:
    """Scores chunks; loads the teacher once. One of these lives in every scoring worker."""

    def __init__(self, request: ScoringPass, store: Store, worker: int = 0) -> None:
        self._request, self._store, self._worker = request, store, worker
        model, self._tokenizer = load_teacher(request.teacher, store)
        self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self._dataset = store.folder(request.dataset)

    def __call__(self, chunk: int) -> ChunkDone:
        """Run one chunk and put its parts into the store."""
        size = self._request.chunk
        total = self._request.rows(self._store)
        start, stop = chunk * size, min(total, (chunk + 1) * size)
        rows = read_rows(self._dataset, "train", start, stop)
        with torch_threads(SCORING_THREADS):
            importance, rows_BT = self._run(rows)
        error = _first_problem(importance, rows, start)
        if error:
            return ChunkDone(chunk, 0, self._worker, error)
        if self._request.score is not None:
            self._write_partial(self._request.score, chunk, importance, start)
        if self._request.cache is not None:
            hidden_ND = importance.hidden_BTD[rows_BT].float().cpu()
            tensors = {"hidden": hidden_ND, "logits": importance.logits_BC.float().cpu()}
            content = save_tensors({name: t.contiguous() for name, t in tensors.items()})
            self._store.write_part(self._request.cache, part_name(chunk), content)
        return ChunkDone(chunk, stop - start, self._worker)

    def _run(self, rows: Rows) -> tuple[Importance, torch.Tensor]:
        length = self._request.teacher.identity["max_length"]
        ids_BT, mask_BT = encode_texts(self._tokenizer, rows.texts, length).batch(
            range(len(rows.texts))
        )
        device = next(self._model.parameters()).device
        ids_BT, mask_BT = ids_BT.to(device), mask_BT.to(device)
        rows_BT = head_rows(self._model, ids_BT, mask_BT)
        # A pass for the cache alone needs no gradient: activations come with one plain forward.
        identity = dict(self._request.score.identity if self._request.score else _PLAIN)
        importance = unit_importance(
            lambda: self._model(input_ids=ids_BT, attention_mask=mask_BT).logits,
            hidden_layers(self._model)[self._request.layer],
            rows_BT,
            kind=identity["kind"],
            output=identity.get("output", "predicted_logit"),
            labels_B=rows.labels.to(device),
            steps=identity.get("steps", 1),
            seed=identity.get("seed", 0),
        )
        return importance, rows_BT

    def _write_partial(self, score: Step, chunk: int, importance: Importance, start: int) -> None:
        counted = int(score.identity["samples"]) - start
        if counted <= 0:
            return
        first_B = torch.arange(importance.valid_B.shape[0]) < counted
        importance = replace(
            importance, valid_B=importance.valid_B & first_B.to(importance.valid_B.device)
        )
        partial = ImportanceSum.of(importance)
        arrays = {"total": partial.total_D, "count": np.array([partial.count], dtype=np.int64)}
        self._store.write_part(score, part_name(chunk), save_arrays(arrays))


def _first_problem(importance: Importance, rows: Rows, start: int) -> str:
    """What is not finite, and for which example; "" when all is well."""
    checked = {
        "outputs": importance.logits_BC,
        "hidden states": importance.hidden_BTD.flatten(1),
        "importance": importance.score_BD,
    }
    for what, values in checked.items():
        bad_B = ~torch.isfinite(values).all(dim=1)
        if bad_B.any():
            place = int(bad_B.int().argmax())
            text = rows.texts[place]
            shown = text if len(text) <= 60 else f"{text[:57]}…"
            where = f"training example {start + place} ({shown!r})"
            return f"the teacher's {what} are NaN or infinite on {where}"
    return ""


def publish_pass(request: ScoringPass, store: Store) -> None:
    """Publish what a finished pass yields; another job that shares it may be faster.

    Raises:
        RuntimeError: chunks are missing, and nobody else has published the steps.
    """
    try:
        _publish_pass(request, store)
    except (RuntimeError, AssertionError, OSError):
        # Whoever publishes drops the parts, which may be while we are reading them.
        if not all(store.has(step) for step in request.steps):
            raise
    for step in request.steps:
        store.drop_parts(step)


def _publish_pass(request: ScoringPass, store: Store) -> None:
    """Reduce the parts of a finished pass and publish what it yields.

    The memory this takes does not grow with the examples: partial sums are read one by one, and
    the cache's chunks become its files as they are.

    Raises:
        RuntimeError: chunks are missing; a sum without them would be kept for good.
    """
    if missing := request.missing(store):
        raise RuntimeError(f"chunks {missing} of the scoring pass are not done")
    if request.score is not None and not store.has(request.score):
        total: ImportanceSum | None = None
        names = sorted(store.parts(request.score))
        for name in names:
            arrays = load_arrays(store.read_part(request.score, name))
            partial = ImportanceSum(arrays["total"], int(arrays["count"][0]))
            total = partial if total is None else total + partial
        assert total is not None, "a pass has at least one chunk"
        with store.publish(request.score) as draft:
            save_arrays_file({"G": total.mean()}, draft.folder / "importance.safetensors")
            draft.summary |= {"digest": total.digest(), "examples": total.count}
        store.drop_parts(request.score)
    if request.cache is not None and not store.has(request.cache):
        with store.publish(request.cache) as draft:
            draft.parts = sorted(store.parts(request.cache))
            draft.summary["chunks"] = len(draft.parts)
