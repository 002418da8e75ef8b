"""Storage of a checkpoint: one safetensors file per worker, and a JSON marker, written last.

torch.distributed.checkpoint plans which worker writes and reads which box of a tensor; the two
classes here are its storage. Its own storage writes a pickle and needs a shared disk.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from ..plan import Step
from ..store import FileEntry, Store

FORMAT = 1
PREFIX, SUFFIX = "training-", ".json"


class DamagedCheckpointError(ValueError):
    """A checkpoint that cannot be restored; an earlier one may be intact."""


@dataclass(frozen=True)
class Box:
    """A part of a tensor: its offsets, its sizes, and the file that holds it."""

    offsets: Sequence[int]
    sizes: Sequence[int]
    file: str


@dataclass(frozen=True)
class Layout:
    """A tensor of a checkpoint: the name of its torch dtype, its full size, and its boxes."""

    dtype: str
    size: Sequence[int]
    boxes: Sequence[Box]


@dataclass(frozen=True)
class Marker:
    """The record that completes a checkpoint; it is written last.

    number: completed optimiser steps.
    workers: number of workers that wrote the checkpoint.
    notes: the training's own state, as JSON.
    values: the optimiser's state other than tensors.
    """

    number: int
    workers: int
    notes: Mapping[str, Any]
    values: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    tensors: Mapping[str, Layout]

    @property
    def name(self) -> str:
        """Name of the marker among the parts of the step."""
        return marker_name(self.number)

    def to_bytes(self) -> bytes:
        """The marker as JSON."""
        return json.dumps({"format": FORMAT} | asdict(self), allow_nan=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Marker:
        """The marker that `to_bytes` wrote.

        Raises:
            DamagedCheckpointError: the content is truncated, or of another version.
        """
        try:
            data = json.loads(content)
            version = data.pop("format")
            if version != FORMAT:
                raise DamagedCheckpointError(f"it has format {version}, not {FORMAT}")
            data["files"] = {name: FileEntry(**entry) for name, entry in data["files"].items()}
            data["tensors"] = {
                name: Layout(**{**entry, "boxes": [Box(**box) for box in entry["boxes"]]})
                for name, entry in data["tensors"].items()
            }
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, DamagedCheckpointError):
                raise
            raise DamagedCheckpointError(f"its marker cannot be read: {error!r}") from None


def marker_name(number: int) -> str:
    """Name of the marker of the checkpoint after `number` optimiser steps."""
    return f"{PREFIX}{number:08d}{SUFFIX}"


def number_of(name: str) -> int | None:
    """Optimiser steps after which a part was written; None if it is not part of a checkpoint."""
    number = name.removeprefix(PREFIX).partition(".")[0]
    return int(number) if name.startswith(PREFIX) and number.isdecimal() else None


class ShardWriter(StorageWriter):
    """Writes one file per worker and then, on the first worker, the marker."""

    def __init__(self, step: Step, store: Store, marker: Marker) -> None:
        self._step, self._store, self._marker = step, store, marker

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Do nothing: no state is kept between checkpoints."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Return the plan unchanged."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Name each worker's file.

        The names contain a random word, so that an abandoned worker group that is still running
        behind a broken network cannot overwrite the files of its successor.
        """
        stem = f"{PREFIX}{self._marker.number:08d}.{uuid.uuid4().hex[:8]}"
        return [
            replace(plan, storage_data=f"{stem}.{rank}.safetensors")
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this worker's boxes to the store."""
        file, tensors, boxes = plan.storage_data, {}, []
        for item in plan.items:
            value = planner.resolve_data(item)
            assert isinstance(value, torch.Tensor), "only tensors are given to it"
            if value.numel():
                box = Box(tuple(item.index.offset or ()), tuple(value.shape), file)
                # A copy: safetensors rejects tensors that share memory (tied weights, views).
                tensors[_key(item.index)] = value.detach().to("cpu", copy=True).contiguous()
                boxes.append((item.index, box))
        entry = None
        if tensors:
            with tempfile.TemporaryDirectory(prefix="flexkd-checkpoint-") as folder:
                path = Path(folder) / file
                save_file(tensors, path)
                entry = self._store.put_part_file(self._step, file, path)
        return _done([WriteResult(index, 0, (box, entry)) for index, box in boxes])

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Complete the checkpoint, and delete all others but the previous one."""
        files: dict[str, FileEntry] = {}
        boxes: dict[str, list[Box]] = {name: [] for name in metadata.state_dict_metadata}
        for result in (result for of_worker in results for result in of_worker):
            box, entry = result.storage_data
            files[box.file] = entry
            boxes[result.index.fqn].append(box)
        tensors = {}
        for name, entry in metadata.state_dict_metadata.items():
            assert isinstance(entry, TensorStorageMetadata)
            dtype = str(entry.properties.dtype).removeprefix("torch.")
            tensors[name] = Layout(dtype, tuple(entry.size), boxes[name])
        marker = replace(self._marker, files=files, tensors=tensors)
        self._store.write_part(self._step, marker.name, marker.to_bytes())
        self._forget_others(marker)

    def _forget_others(self, marker: Marker) -> None:
        parts = {name: number_of(name) for name in self._store.parts(self._step)}
        whole = {n for n in parts.values() if n is not None and marker_name(n) in parts}
        before = max((number for number in whole if number < marker.number), default=None)
        # A later one was skipped as damaged, or belongs to an attempt that this one replaces.
        rest = [
            name
            for name, number in parts.items()
            if number not in (None, before) and name not in (marker.name, *marker.files)
        ]
        # Markers first: a partly deleted checkpoint must not count as complete.
        for name in sorted(rest, key=lambda name: not name.endswith(SUFFIX)):
            self._store.drop_part(self._step, name)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        """False: a writer belongs to a step, not to a path."""
        return False


class ShardReader(StorageReader):
    """Reads what a worker needs from a checkpoint, whichever worker wrote it."""

    def __init__(self, step: Step, store: Store, marker: Marker, folder: Path) -> None:
        """folder: an empty local folder for fetched files."""
        self._step, self._store, self._marker, self._folder = step, store, marker, folder
        self._files: Mapping[MetadataIndex, str] = {}

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Do nothing: a reader is used for one checkpoint."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The marker's content as metadata of torch.distributed.checkpoint."""
        tensors = {}
        files: dict[MetadataIndex, str] = {}
        for name, layout in self._marker.tensors.items():
            boxes = [
                ChunkStorageMetadata(torch.Size(box.offsets), torch.Size(box.sizes))
                for box in layout.boxes
            ]
            properties = TensorProperties(dtype=dtype_of(layout))
            tensors[name] = TensorStorageMetadata(properties, torch.Size(layout.size), boxes)
            files |= {MetadataIndex(name, box.offsets): box.file for box in layout.boxes}
        return Metadata(dict(tensors), storage_data=files)

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """Store which file holds each box."""
        self._files = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Fetch the files that this worker needs: an error here fails all workers before any reads.

        Raises:
            DamagedCheckpointError: a file is missing, or differs from the marker's entry.
        """
        for file in sorted({self._files[item.storage_index] for item in plan.items}):
            try:
                entry = self._store.fetch_part(self._step, file, self._folder / file)
            except FileNotFoundError:
                raise DamagedCheckpointError(f"{file} is missing") from None
            if entry != self._marker.files[file]:
                raise DamagedCheckpointError(f"{file} does not match its marker")
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Return the plans unchanged."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy the boxes into the tensors that the plan names."""
        needed: dict[str, list[Any]] = {}
        for item in plan.items:
            needed.setdefault(self._files[item.storage_index], []).append(item)
        for file, items in needed.items():
            with safe_open(self._folder / file, framework="pt") as opened:
                for item in items:
                    box = tuple(
                        slice(offset, offset + length)
                        for offset, length in zip(item.storage_offsets, item.lengths, strict=True)
                    )
                    key = _key(item.storage_index)
                    value = opened.get_slice(key)[box] if box else opened.get_tensor(key)
                    target = planner.resolve_tensor(item).detach()
                    target.copy_(value)
                    planner.commit_tensor(item, target)
        return _done(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        """False: a reader belongs to a step, not to a path."""
        return False


def dtype_of(layout: Layout) -> torch.dtype:
    """The dtype of a tensor."""
    dtype = getattr(torch, layout.dtype)
    assert isinstance(dtype, torch.dtype)
    return dtype


def _key(index: MetadataIndex) -> str:
    """A box's name within its file: one worker may hold several boxes of a tensor."""
    return f"{index.fqn}@{','.join(map(str, index.offset or ()))}"


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future
