"""The generation step: the teacher's own responses to the training prompts, for SeqKD."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import TypeAdapter

from ..models import placed
from ..plan import Step
from ..spec import Decoding, Sampling
from ..store import Store
from ..tasks import decode, generate
from ..training.encoding import encode_inputs
from ..training.worker import local_device, torch_threads
from .chunked_pass import CHUNK_THREADS, ChunkDone, ChunkedPass
from .dataset import SplitReader
from .teacher import load_teacher


@dataclass(frozen=True)
class GenerationPass(ChunkedPass):
    """The teacher writes a response to every training prompt."""

    step: Step
    suffix = "json"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The one step."""
        return (self.step,)

    def chunks_of(self, step: Step, total: int) -> range:
        """All."""
        return range(total)

    def open(self, store: Store, worker: int = 0, *, spread: bool = False) -> ChunkWriter:
        """A writer of chunks."""
        return ChunkWriter(self, store, worker, spread)

    def reduce(self, step: Step, store: Store) -> None:
        """The parts become files as they are."""
        with store.publish(step) as draft:
            draft.parts = sorted(store.parts(step))
            draft.summary["chunks"] = self.layout(store).chunks


class ChunkWriter:
    """Writes responses to the prompts of parts; loads the teacher once."""

    def __init__(
        self, request: GenerationPass, store: Store, worker: int = 0, spread: bool = False
    ) -> None:
        self._request, self._store, self._worker = request, store, worker
        self._device = torch.device(local_device())
        model, self._tokenizer = load_teacher(request.teacher, store)
        self._model: Any = placed(model, self._device, spread).eval()
        self._layout = request.layout(store)
        self._rows = SplitReader(store.folder(request.dataset), "train")

    def __call__(self, first: int) -> ChunkDone:
        """Write the chunks of one part and put it into the store."""
        part = self._layout.part(first)
        written = [entry for chunk in part for entry in self._responses(chunk)]
        name = self._layout.name(first, self._request.suffix)
        self._store.write_part(self._request.step, name, json.dumps(written).encode())
        return ChunkDone(first, len(written), self._worker)

    def _responses(self, chunk: int) -> list[tuple[str, bool]]:
        """One chunk's responses, each with whether it ended."""
        identity = self._request.step.identity
        table = self._rows.rows(*self._layout.bounds(chunk))
        prompts = encode_inputs(table, self._tokenizer, self._request.teacher.identity)
        decoding: Decoding = TypeAdapter(Decoding).validate_python(
            json.loads(json.dumps(identity["decoding"])), strict=False
        )
        # A draw of its own for each chunk: the same whichever worker writes it.
        seed = decoding.seeds[0] * 1_000_003 + chunk if isinstance(decoding, Sampling) else 0
        with torch_threads(CHUNK_THREADS):
            written = generate(
                self._model,
                prompts,
                decoding=decoding,
                max_new_tokens=identity["max_new_tokens"],
                seed=seed,
                pad_id=self._tokenizer.pad_token_id,
                eos_id=self._tokenizer.eos_token_id,
                device=self._device,
            )
        # One that used up its tokens did not end, and must not teach an end.
        limit = identity["max_new_tokens"]
        ended = [len(ids) < limit for ids in written]
        return list(zip(decode(self._tokenizer, written), ended, strict=True))


def read_responses(step: Step, store: Store) -> list[tuple[str, bool]]:
    """Of a published generation, by training example: the response, and whether it ended."""
    files = sorted(store.folder(step).glob("chunk-*"))
    return [(text, ended) for file in files for text, ended in json.loads(file.read_bytes())]
