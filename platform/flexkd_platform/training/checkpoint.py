"""Checkpoints of an unfinished training, which can resume with any number of workers."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ..plan import Step
from ..store import DamagedPartError, Store
from .checkpoint_storage import (
    SUFFIX,
    DamagedCheckpointError,
    Marker,
    ShardReader,
    ShardWriter,
    dtype_of,
    number_of,
)
from .worker import Worker

FLAT = StateDictOptions(flatten_optimizer_state_dict=True)
MODEL, OPTIMIZER, MORE = "model.", "optimizer.", "more."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint restores in addition to the module and the optimiser.

    number: completed optimiser steps.
    more: the further tensors, by name; those with the name and shape of one of the module's are
        placed like it (sharded if it is), all others are on the CPU.
    """

    number: int
    notes: Mapping[str, Any]
    more: Mapping[str, Mapping[str, Tensor]]


class Checkpoints:
    """Checkpoints of one unfinished training, as parts of its step in the store.

    Each worker writes one file to the store; the first worker's marker, written last, completes
    the checkpoint. The last two are kept. Parameters are named as in the module without a wrapper,
    so a checkpoint can be restored under another one: plain, DDP, FSDP2.
    """

    def __init__(self, step: Step, store: Store, worker: Worker) -> None:
        self._step, self._store, self._worker = step, store, worker

    def save(
        self,
        number: int,
        module: nn.Module,
        optimizer: Optimizer,
        notes: Mapping[str, Any],
        more: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> None:
        """Write a checkpoint after `number` optimiser steps. All workers call this together.

        Args:
            module: as the worker wrapped it.
            notes: JSON; the first worker's are kept.
            more: further tensors by two names (the best weights, see `copy_of_weights`).
        """
        state = _state(module, optimizer)
        for name, tensors in (more or {}).items():
            assert "." not in name, "a dot ends the name"
            state |= {f"{MORE}{name}.{key}": value for key, value in tensors.items()}
        values = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        marker = Marker(number, self._worker.size, notes, values, {}, {})
        with _causes():
            save(
                {key: value for key, value in state.items() if isinstance(value, Tensor)},
                storage_writer=ShardWriter(self._step, self._store, marker),
                no_dist=self._alone,
            )

    def load(self, module: nn.Module, optimizer: Optimizer) -> Loaded | None:
        """Restore the newest complete checkpoint. All workers call this together.

        A damaged checkpoint is skipped with a warning. Without a valid one, the module and the
        optimiser are unchanged.

        Args:
            module: as the worker wrapped it.
            optimizer: of its parameters, before its first step.

        Returns:
            What else was saved; None if there is no checkpoint to resume from.
        """
        assert not optimizer.state, "the optimiser has done nothing yet"
        for marker in self._markers():
            try:
                return self._restore(marker, module, optimizer)
            except DamagedCheckpointError as error:
                self._pass_over(marker.name, error)
                # Reading the optimiser's state has created one, as of a step without a gradient.
                optimizer.state.clear()
        return None

    def drop(self) -> None:
        """Delete all checkpoints; the first worker calls this once the step is published."""
        self._store.drop_parts(self._step)

    # --- inside --------------------------------------------------------------------------------

    @property
    def _alone(self) -> bool:
        return self._worker.size == 1

    def _markers(self) -> list[Marker]:
        """The complete checkpoints, newest first: the same ones on every worker."""
        message: list[list[Marker] | Exception] = [[]]
        if self._worker.rank == 0:
            try:
                message = [self._found()]
            except Exception as error:  # broadcast to the other workers, which wait for it
                message = [error]
        if not self._alone:
            dist.broadcast_object_list(message, src=0, device=self._worker.device)
        if isinstance(message[0], Exception):
            raise message[0]
        return message[0]

    def _found(self) -> list[Marker]:
        names = [name for name in self._store.parts(self._step) if name.endswith(SUFFIX)]
        found = []
        for name in sorted((n for n in names if number_of(n) is not None), reverse=True):
            try:
                found.append(Marker.from_bytes(self._store.read_part(self._step, name)))
            except FileNotFoundError:
                continue  # another job with the same training has replaced or published it
            except (DamagedCheckpointError, DamagedPartError) as error:
                self._pass_over(name, error)
        return found

    def _pass_over(self, name: str, error: Exception) -> None:
        if self._worker.rank == 0:
            place = f"{self._step.kind} {self._step.hash[:12]}"
            _log.warning("the checkpoint %s of %s is damaged and skipped: %s", name, place, error)

    def _restore(self, marker: Marker, module: nn.Module, optimizer: Optimizer) -> Loaded:
        state = _state(module, optimizer)
        _without_idle_parameters(state, marker, module, optimizer)
        values = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        _check_fit(marker, tensors, values)
        more = _room_for_more(marker, tensors)
        with _causes(), tempfile.TemporaryDirectory(prefix="flexkd-checkpoint-") as folder:
            load(
                tensors | more,
                storage_reader=ShardReader(self._step, self._store, marker, Path(folder)),
                no_dist=self._alone,
            )
        # Convert to the optimiser's types: JSON has lists in place of tuples.
        state |= {key: type(values[key])(value) if isinstance(values[key], tuple) else value
                  for key, value in marker.values.items()}  # fmt: skip
        _put(state, module, optimizer)
        named: dict[str, dict[str, Tensor]] = {}
        for full, tensor in more.items():
            name, _, key = full.removeprefix(MORE).partition(".")
            named.setdefault(name, {})[key] = tensor
        return Loaded(marker.number, marker.notes, named)


def copy_of_weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state, with names as without a wrapper; this worker's shard."""
    return {key: value.clone() for key, value in _weights(module).items()}


def put_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights from `copy_of_weights` or `Loaded.more` into a module."""
    set_model_state_dict(_inner(module), dict(weights))


def _inner(module: nn.Module) -> nn.Module:
    """The module without a wrapper that renames its parameters; FSDP2 renames none."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """The module's state, aliased; this worker's shard."""
    found = get_model_state_dict(_inner(module))
    return {key: value for key, value in found.items() if isinstance(value, Tensor)}


def _state(module: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The state that training changes; the tensors alias the module's and the optimiser's."""
    of_optimizer = get_optimizer_state_dict(_inner(module), optimizer, options=FLAT)
    return {
        **{f"{MODEL}{key}": value for key, value in _weights(module).items()},
        **{f"{OPTIMIZER}{key}": value for key, value in of_optimizer.items()},
    }


def _put(state: Mapping[str, Any], module: nn.Module, optimizer: Optimizer) -> None:
    inner = _inner(module)
    weights = {k.removeprefix(MODEL): v for k, v in state.items() if k.startswith(MODEL)}
    set_model_state_dict(inner, weights)
    rest = {k.removeprefix(OPTIMIZER): v for k, v in state.items() if k.startswith(OPTIMIZER)}
    set_optimizer_state_dict(inner, optimizer, rest, options=FLAT)


def _without_idle_parameters(
    state: dict[str, Any], marker: Marker, module: nn.Module, optimizer: Optimizer
) -> None:
    """Remove the optimiser's state of parameters that had no gradient: the checkpoint has none."""
    for name, parameter in _inner(module).named_parameters():
        keys = [f"{OPTIMIZER}state.{name}.{key}" for key in optimizer.state.get(parameter, ())]
        if not any(key in marker.tensors or key in marker.values for key in keys):
            optimizer.state.pop(parameter, None)
            for key in keys:
                del state[key]


def _check_fit(marker: Marker, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Raise DamagedCheckpointError unless the checkpoint holds the whole state of the training."""
    if values.keys() != marker.values.keys():
        raise DamagedCheckpointError("it belongs to another optimiser")
    for name, tensor in tensors.items():
        layout = marker.tensors.get(name)
        if layout is None or (dtype_of(layout), torch.Size(layout.size)) != (
            tensor.dtype,
            tensor.shape,
        ):
            raise DamagedCheckpointError(f"it has no {name} of shape {tuple(tensor.shape)}")


def _room_for_more(marker: Marker, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Empty tensors to load the further ones into, placed like the module's of the same name."""
    room = {}
    for name, layout in marker.tensors.items():
        if name.startswith(MORE):
            like = tensors.get(MODEL + name.removeprefix(MORE).partition(".")[2])
            size, dtype = torch.Size(layout.size), dtype_of(layout)
            if like is not None and (like.shape, like.dtype) == (size, dtype):
                room[name] = torch.empty_like(like)
            else:
                room[name] = torch.empty(size, dtype=dtype)
    return room


@contextmanager
def _causes() -> Iterator[None]:
    """Raise the error of one worker on all workers.

    torch's CheckpointException holds the errors by rank, and is not a subclass of `Exception`.
    """
    try:
        with warnings.catch_warnings():
            # Expected with a single worker.
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            yield
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        worst = (c for c in causes if not isinstance(c, DamagedCheckpointError))
        raise next(worst, causes[0]) from error
