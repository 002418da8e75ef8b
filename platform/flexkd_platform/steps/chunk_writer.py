"""The work of a generation pass: the responses of the teacher to the prompts of chunks."""

from __future__ import annotations

import json
from typing import Any

import torch

from ..artifacts import Response, SplitReader
from ..models import placed
from ..plan import ResponseReading
from ..spec import Sampling
from ..store import Store
from ..tasks import decode, generate
from ..training.encoding import encode_inputs, end_of_response
from ..training.worker import local_device, torch_threads
from .chunked_pass import CHUNK_THREADS, ChunkDone
from .generation_pass import GenerationPass
from .teacher_model import load_teacher


class ChunkWriter:
    """Generates responses to the prompts of chunks; loads the teacher once."""

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
        """Generate the chunks of one part and write them to the store."""
        part = self._layout.part(first)
        written = [entry for chunk in part for entry in self._responses(chunk)]
        name = self._layout.name(first, self._request.suffix)
        self._store.write_part(self._request.step, name, json.dumps(written).encode())
        return ChunkDone(first, len(written), self._worker)

    def _responses(self, chunk: int) -> list[Response]:
        """The responses of one chunk."""
        reading, decoding = self._config.teacher.config.reading, self._config.decoding
        assert isinstance(reading, ResponseReading), "only a language model generates"
        table = self._rows.rows(*self._layout.bounds(chunk))
        prompts = encode_inputs(table, self._tokenizer, reading).ids
        # A separate seed for each chunk: the result does not depend on the worker.
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
                eos_id=end_of_response(self._tokenizer, reading),
                device=self._device,
            )
        # A response that reached the token limit did not end, and must not teach an end token.
        ended = [len(ids) < limit for ids in written]
        return list(zip(decode(self._tokenizer, written), ended, strict=True))
