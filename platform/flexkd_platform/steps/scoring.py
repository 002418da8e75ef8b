"""The scoring pass: chunks of training examples through the teacher, once.

A chunk gives one fp64 partial sum of importance for each scored layer, and its rows of the teacher
caches. The reduction adds partial sums in the order of the chunks, because fp64 addition is not
associative.

Shapes: E examples of a chunk, N rows compared, K gradients an example, D hidden units.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.numpy import save_file as save_arrays_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from flexkd_core import (
    GradientMoment,
    ImportanceSum,
    effective_dimension,
    participation_ratio,
    spectrum,
)

from ..models import output_head
from ..plan import OUTPUTS, LayerRef, Step, stack_of
from ..store import Store
from ..tasks import Examples, decoder_start
from .chunks import CHUNK_THREADS, HEAD_FILE, ChunkDone, ChunkedPass
from .dataset import read_rows
from .examples import GENERATION, encode
from .importance import score_batch
from .tapped import HEAD_INPUT, LOGITS, TappedModel, run
from .teacher import load_teacher
from .worker import local_device, torch_threads

FORWARD_EXAMPLES = {"classification": 16, "regression": 16, "instruction": 8, "summarization": 8}
"""Examples of one forward: a chunk's, sorted by length, so that little of it is padding."""


@dataclass(frozen=True)
class ScoringPass(ChunkedPass):
    """What one pass is to yield.

    scores: each publishes G of a layer; only its first `samples` training rows count.
    caches: each publishes a layer's hidden states, or the outputs, of all training rows.
    """

    scores: tuple[Step, ...]
    caches: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Scores, then caches."""
        return (*self.scores, *self.caches)

    def chunks_of(self, step: Step, total: int) -> range:
        """All for a cache, those of its samples for a score."""
        if step.kind == "cache":
            return range(total)
        return range(min(total, -(-int(step.identity["samples"]) // self.chunk)))

    def open(self, store: Store, worker: int = 0) -> ChunkScorer:
        """A scorer of chunks."""
        return ChunkScorer(self, store, worker)

    def reduce(self, step: Step, store: Store) -> None:
        """Add up a score, or make a cache of its parts."""
        if step.kind == "score":
            _publish_score(step, store)
        else:
            _publish_cache(step, store)


def passes(missing: Sequence[Step]) -> list[ScoringPass]:
    """The fewest passes that yield these score and cache steps.

    Those that read the same teacher in the same chunks share one.
    """
    groups: dict[tuple[Any, ...], list[Step]] = {}
    for step in missing:
        inputs = tuple(sorted((role, needed.hash) for role, needed in step.needs.items()))
        groups.setdefault((inputs, step.identity["chunk"]), []).append(step)
    return [
        ScoringPass(
            tuple(step for step in group if step.kind == "score"),
            tuple(step for step in group if step.kind == "cache"),
        )
        for group in groups.values()
    ]


class ChunkScorer:
    """Scores chunks; loads the teacher once."""

    def __init__(self, request: ScoringPass, store: Store, worker: int = 0) -> None:
        self._request, self._store, self._worker = request, store, worker
        model, self._tokenizer = load_teacher(request.teacher, store)
        self._device = torch.device(local_device())
        self._model: Any = model.to(self._device).eval()
        layers = [c.identity["holds"] for c in request.caches if c.identity["holds"] != OUTPUTS]
        self._layers: list[LayerRef] = list(dict.fromkeys(layers))
        self._tapped = TappedModel(model, self._layers)
        self._dataset = store.folder(request.dataset)

    def __call__(self, chunk: int) -> ChunkDone:
        """Run one chunk and put its parts into the store."""
        start, stop = self._request.bounds(chunk, self._store)
        table = read_rows(self._dataset, "train", start, stop)
        reading = self._request.teacher.identity
        examples = encode(
            table, self._tokenizer, reading, decoder_start_id=decoder_start(self._model)
        )
        with torch_threads(CHUNK_THREADS):
            result = _Chunk(self, examples, reading["task"]).run(start)
        if error := result.problem(table, start):
            return ChunkDone(chunk, 0, self._worker, error)
        for score, arrays in result.partials():
            self._store.write_part(score, self._request.part(chunk), save_arrays(arrays))
        for cache in self._request.caches:
            if chunk == 0 and cache.identity["holds"] == OUTPUTS and reading["task"] in GENERATION:
                self._write_head(cache)
            rows = result.rows(cache.identity["holds"])
            content = save_tensors({"rows": rows.contiguous()})
            self._store.write_part(cache, self._request.part(chunk), content)
        return ChunkDone(chunk, stop - start, self._worker)

    def _write_head(self, cache: Step) -> None:
        """What makes logits of the rows, so that no trial has to load the whole teacher for it."""
        head = output_head(self._model)
        tensors = {"weight": head.weight.detach().float().cpu().contiguous()}
        if head.bias_V is not None:
            tensors["bias"] = head.bias_V.detach().float().cpu().contiguous()
        self._store.write_part(cache, HEAD_FILE, save_tensors(tensors))

    def forward(self, examples: Examples, rows: Sequence[int], scores: Sequence[Step]) -> Any:
        """Importance by score, and what the teacher put out, of some of a chunk's examples."""
        batch = examples.batch(rows)
        found: dict[str, Tensor] = {}
        importances = []
        for score in scores:
            importance, first = score_batch(
                self._tapped, batch, score.identity["layer"], score.identity, self._device
            )
            importances.append(importance)
            found = found or first
        if not found:
            with torch.no_grad():
                found = run(self._tapped, batch, self._device)
        return importances, found

    @property
    def request(self) -> ScoringPass:
        """The pass that chunks belong to."""
        return self._request

    @property
    def layers(self) -> list[LayerRef]:
        """The layers whose hidden states are cached."""
        return self._layers


class _Chunk:
    """One chunk on its way through the teacher, a few examples at a time."""

    def __init__(self, scorer: ChunkScorer, examples: Examples, task: str) -> None:
        self._scorer, self._examples, self._task = scorer, examples, task
        self._scores: dict[str, list[tuple[NDArray[np.float64], bool, NDArray[np.float64]]]] = {}
        self._rows: dict[LayerRef, list[Tensor]] = {}
        self._wanted: list[Step] = []
        self._start = 0

    def run(self, start: int) -> _Chunk:
        """All examples of the chunk whose first is training row `start`."""
        self._start = start
        self._wanted = [
            score for score in self._scorer.request.scores if int(score.identity["samples"]) > start
        ]
        count = len(self._examples)
        size = FORWARD_EXAMPLES[self._task]
        order = sorted(range(count), key=self._examples.length)
        by_example: dict[int, Any] = {}
        for first in range(0, count, size):
            rows = order[first : first + size]
            importances, found = self._scorer.forward(self._examples, rows, self._wanted)
            for place, row in enumerate(rows):
                by_example[row] = (
                    [
                        (
                            importance.score_BD[place].cpu().numpy().astype(np.float64),
                            bool(importance.valid_B[place]),
                            importance.gradient_BKD[place].cpu().numpy().astype(np.float64),
                        )
                        for importance in importances
                    ],
                    self._split(found, rows, place),
                )
        for row in range(count):
            scored, kept = by_example[row]
            for score, entry in zip(self._wanted, scored, strict=True):
                self._scores.setdefault(score.hash, []).append(entry)
            for holds, part in kept.items():
                self._rows.setdefault(holds, []).append(part)
        return self

    def _split(
        self, found: Mapping[str, Tensor], rows: Sequence[int], place: int
    ) -> dict[LayerRef, Tensor]:
        """One example's rows of everything that is kept."""
        kept: dict[LayerRef, Tensor] = {}
        name = HEAD_INPUT if self._task in GENERATION else LOGITS
        counts = [self._examples.target_rows(row) for row in rows]
        first = sum(counts[:place])
        kept[OUTPUTS] = found[name][first : first + counts[place]].float().cpu()
        for layer in self._scorer.layers:
            counts = [self._examples.feature_rows(row, stack_of(layer)) for row in rows]
            first = sum(counts[:place])
            kept[layer] = found[str(layer)][first : first + counts[place]].float().cpu()
        return kept

    def problem(self, table: pa.Table, start: int) -> str:
        """Why the chunk cannot be used, naming the first example; "" if it can."""
        for place in range(len(self._examples)):
            what = ""
            if not all(bool(torch.isfinite(rows[place]).all()) for rows in self._rows.values()):
                what = "outputs or hidden states"
            elif not all(np.isfinite(entries[place][0]).all() for entries in self._scores.values()):
                what = "gradients"
            if what:
                name = "text" if "text" in table.column_names else "prompt"
                text = table[name][place].as_py()
                shown = text if len(text) <= 60 else f"{text[:57]}…"
                where = f"training example {start + place} ({shown!r})"
                return f"the teacher's {what} are NaN or infinite on {where}"
        return ""

    def partials(self) -> list[tuple[Step, dict[str, NDArray[Any]]]]:
        """Each score's part: the sum over its counted examples, and their gradients."""
        found = []
        for score in self._wanted:
            counted = int(score.identity["samples"]) - self._start
            entries = [e for e in self._scores[score.hash][:counted] if e[1]]
            width = len(self._scores[score.hash][0][0])
            total_D = np.stack([g_D for g_D, _, _ in entries] or [np.zeros(width)]).sum(axis=0)
            arrays: dict[str, NDArray[Any]] = {"total": total_D, "count": np.array([len(entries)])}
            if score.identity["geometry"] and entries:
                arrays["gradients"] = np.stack([g_KD for _, _, g_KD in entries])
            found.append((score, arrays))
        return found

    def rows(self, holds: LayerRef) -> Tensor:
        """The chunk's rows of a cache, example by example."""
        return torch.cat(self._rows[holds])


def _publish_score(step: Step, store: Store) -> None:
    """Add partial sums in the order of the chunks, one by one: memory does not grow with them."""
    total: ImportanceSum | None = None
    moment: GradientMoment | None = None
    for name in sorted(store.parts(step)):
        arrays = load_arrays(store.read_part(step, name))
        partial = ImportanceSum(arrays["total"], int(arrays["count"][0]))
        total = partial if total is None else total + partial
        if "gradients" in arrays:
            examples, outputs, units = arrays["gradients"].shape
            gradients_ND = arrays["gradients"].reshape(-1, units)
            added = GradientMoment(gradients_ND.T @ gradients_ND / outputs, examples)
            moment = added if moment is None else moment + added
    assert total is not None, "a pass has at least one chunk"
    with store.publish(step) as draft:
        save_arrays_file({"G": total.mean()}, draft.folder / "importance.safetensors")
        draft.summary |= {"digest": total.digest(), "examples": total.count}
        if moment is not None:
            moment_DD = moment.mean()
            save_arrays_file({"M": moment_DD}, draft.folder / "moment.safetensors")
            geometry = _geometry(moment_DD)
            (draft.folder / "geometry.json").write_text(json.dumps(geometry) + "\n")
            draft.summary["geometry"] = {k: v for k, v in geometry.items() if k != "spectrum"}


def _geometry(moment_DD: NDArray[np.float64]) -> dict[str, Any]:
    values_D = spectrum(moment_DD)
    if not values_D.any():
        return {"spectrum": values_D.tolist()}
    return {
        "participation_ratio": participation_ratio(moment_DD),
        "effective_dimension": effective_dimension(moment_DD),
        "spectrum": values_D.tolist(),
    }


def _publish_cache(step: Step, store: Store) -> None:
    """The cache's chunks become its files as they are."""
    with store.publish(step) as draft:
        draft.parts = sorted(store.parts(step))
        draft.summary["chunks"] = sum(name != HEAD_FILE for name in draft.parts)
