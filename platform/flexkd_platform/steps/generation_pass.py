"""The generation pass: the teacher's responses to the training prompts, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..artifacts import Response, SplitReader
from ..models import placed
from ..plan import ChunkedConfig, GenerateConfig, ResponseReading, Step
from ..spec import Sampling
from ..store import Store
from ..tasks import decode, generate
from ..training.encoding import encode_inputs
from ..training.worker import local_device, torch_threads
from .chunked_pass import CHUNK_THREADS, ChunkDone, ChunkedPass
from .teacher_model import load_teacher


@dataclass(frozen=True)
class GenerationPass(ChunkedPass):
    """The teacher writes a response to every training prompt."""

    step: Step[GenerateConfig]
    suffix = "json"

    @property
    def steps(self) -> tuple[Step[ChunkedConfig], ...]:
        """The one step."""
        return (self.step,)

    def chunks_of(self, step: Step[ChunkedConfig], total: int) -> range:
        """All."""
        return range(total)

    def open(
        self, store: Store, worker: int = 0, *, spread: bool = False
    ) -> Callable[[int], ChunkDone]:
        """A writer of chunks."""
        return ChunkWriter(self, store, worker, spread)


class ChunkWriter:
    """Writes responses to the prompts of several chunks; loads the teacher once."""

    def __init__(
        self, request: GenerationPass, store: Store, worker: int = 0, spread: bool = False
    ) -> None:
        self._request, self._store, self._worker = request, store, worker
        self._config = request.step.config
        self._device = torch.device(local_device())
        model, self._tokenizer = load_teacher(request.teacher, store)
        self._model: Any = placed(model, self._device, spread).eval()
        self._layout = request.layout(store)
        self._rows = SplitReader(store.folder(request.dataset), "train")

    def __call__(self, first: int) -> ChunkDone:
        """Write the chunks of one partial artifact into the store."""
        part = self._layout.part(first)
        written = [entry for chunk in part for entry in self._responses(chunk)]
        name = self._layout.name(first, self._request.suffix)
        self._store.write_part(self._request.step, name, json.dumps(written).encode())
        return ChunkDone(first, len(written), self._worker)

    def _responses(self, chunk: int) -> list[Response]:
        """One chunk's responses."""
        reading, decoding = self._config.teacher.config.reading, self._config.decoding
        assert isinstance(reading, ResponseReading), "only a language model generates"
        table = self._rows.rows(*self._layout.bounds(chunk))
        prompts = encode_inputs(table, self._tokenizer, reading)
        # A draw of its own for each chunk: the same whichever worker writes it.
        seed = decoding.seeds[0] * 1_000_003 + chunk if isinstance(decoding, Sampling) else 0
        limit = self._config.max_new_tokens
        with torch_threads(CHUNK_THREADS):
            written = generate(
                self._model,
                prompts,
                decoding=decoding,
                max_new_tokens=limit,
                seed=seed,
                pad_id=self._tokenizer.pad_token_id,
                eos_id=self._tokenizer.eos_token_id,
                device=self._device,
            )
        # One that used up its tokens did not end, and must not teach an end.
        ended = [len(ids) < limit for ids in written]
        return list(zip(decode(self._tokenizer, written), ended, strict=True))
