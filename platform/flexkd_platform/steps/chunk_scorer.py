"""The work of a scoring pass: the teacher's importance and outputs on chunks of examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors
from torch import Tensor

from flexkd_core import Importance, drawn_rows

from ..artifacts import SplitReader
from ..models import label_unit, output_head, placed
from ..plan import OUTPUTS, CacheConfig, LayerRef, ResponseReading, Step
from ..store import Store
from ..tasks import Examples, decoder_start
from ..training.encoding import encode
from ..training.hidden_states import HiddenStateModel, forward
from ..training.importance import score_batch
from ..training.teacher_signal import HEAD_FILE, kept_head
from ..training.worker import local_device, torch_threads
from .chunked_pass import CHUNK_THREADS, ChunkDone
from .partial_sum import PartialSum, pack
from .scored_chunk import ScoredChunk
from .teacher_model import load_teacher
from .teacher_pass import ScoringPass


class ChunkScorer:
    """Scores chunks; loads the teacher once."""

    def __init__(
        self, request: ScoringPass, store: Store, worker: int = 0, spread: bool = False
    ) -> None:
        self._request, self._store, self._worker = request, store, worker
        self._device = torch.device(local_device())
        model, self._tokenizer = load_teacher(request.teacher, store)
        self._unit = label_unit(model)
        self._model: Any = placed(model, self._device, spread).eval()
        layers = [c.config.holds for c in request.caches if c.config.holds != OUTPUTS]
        self._layers: list[LayerRef] = list(dict.fromkeys(layers))
        self._reading = request.teacher.config.reading
        self._tapped = HiddenStateModel(model, self._layers)
        self._layout = request.layout(store)
        self._rows = SplitReader(store.folder(request.dataset), "train")
        draw = request.draw
        self._numbers = (
            np.arange(self._layout.rows)
            if draw is None
            else drawn_rows(self._rows.total, draw.samples, draw.seed)
        )

    def __call__(self, first: int) -> ChunkDone:
        """Run the chunks of one part and write a partial artifact of every step to the store."""
        partials: dict[str, dict[int, PartialSum]] = {s.hash: {} for s in self._request.scores}
        kept: dict[str, list[Tensor]] = {cache.hash: [] for cache in self._request.caches}
        examples = 0
        for chunk in self._layout.part(first):
            rows = self._numbers[slice(*self._layout.bounds(chunk))]
            found = self._run(rows)
            if isinstance(found, str):
                return ChunkDone(first, 0, self._worker, found)
            for score in self._request.scores:
                partials[score.hash][chunk] = found.partial(score)
            for cache in self._request.caches:
                kept[cache.hash].append(found.rows(cache.config.holds))
            examples += len(rows)
        self._write(first, partials, kept)
        return ChunkDone(first, examples, self._worker)

    def _run(self, rows: NDArray[np.int64]) -> ScoredChunk | str:
        """Run one chunk through the teacher; on failure, returns a message with the example."""
        table = self._rows.take(rows)
        examples = encode(
            table,
            self._tokenizer,
            self._reading,
            decoder_start_id=decoder_start(self._model),
            unit=self._unit,
        )
        found = ScoredChunk(examples, self._reading, self._request.scores, self._layers)
        # Sorted by length to reduce padding.
        size = self._reading.kind.forward_examples
        order = sorted(range(len(examples)), key=examples.length)
        with torch_threads(CHUNK_THREADS):
            for place in range(0, len(order), size):
                some = order[place : place + size]
                found.put(some, *self._forward(examples, some))
        return found.problem(table, rows.tolist()) or found

    def _forward(
        self, examples: Examples, rows: Sequence[int]
    ) -> tuple[list[Importance], dict[str, Tensor]]:
        """The importance for each score, and the teacher's outputs, for a batch of examples."""
        batch = examples.batch(rows)
        outputs: dict[str, Tensor] = {}
        importances: list[Importance] = []
        for score in self._request.scores:
            config = score.config
            importance, first = score_batch(
                self._tapped,
                batch,
                config.layer,
                config.importance,
                self._device,
                moment=config.moment,
            )
            importances.append(importance)
            outputs = outputs or first
        if not outputs:
            with torch.no_grad():
                outputs = forward(self._tapped, batch, self._device)
        return importances, outputs

    def _write(
        self,
        first: int,
        partials: dict[str, dict[int, PartialSum]],
        kept: dict[str, list[Tensor]],
    ) -> None:
        """Write one file per step; a cache's head first, so that no rows exist without it."""
        name = self._layout.name(first, self._request.suffix)
        for score in self._request.scores:
            self._store.write_part(score, name, pack(partials[score.hash]))
        text = isinstance(self._reading, ResponseReading)
        for cache in self._request.caches:
            if first == 0 and text and cache.config.holds == OUTPUTS:
                self._write_head(cache)
            content = save_tensors({"rows": torch.cat(kept[cache.hash])})
            self._store.write_part(cache, name, content)

    def _write_head(self, cache: Step[CacheConfig]) -> None:
        """Write the output head, so that trials can compute logits without the teacher."""
        content = save_tensors(kept_head(output_head(self._model)))
        self._store.write_part(cache, HEAD_FILE, content)
