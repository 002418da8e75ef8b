"""The interface of the workers that run a training loop.

The loop takes a worker as an argument: one runs it directly, several run it under Ray Train.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..models import placed

T = TypeVar("T")


class Worker(ABC):
    """One of `size` data-parallel workers, numbered by `rank` from 0."""

    rank: int
    size: int
    device: torch.device

    @abstractmethod
    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on this worker's device, its gradients averaged over the workers."""

    @abstractmethod
    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all workers in rank order; `counts[r]` of them are rank r's.

        The backward scales the gradient so that, once `wrap` has averaged it, a loss computed from
        the gathered rows on every worker has the same gradient as on a single worker.
        """

    def accumulating(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Context of one micro-batch's forward and backward; gradients may sync with the `last`."""
        return nullcontext()

    def place(self, teacher: Any, spread_out: bool = False) -> Any:
        """An online teacher, placed on this worker's device or spread over all its devices."""
        return placed(teacher, self.device, spread_out)

    @abstractmethod
    def settle(self, module: nn.Module) -> None:
        """Reshard a sharded module after a forward without a backward."""

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> float:
        """Clip the gradients to a norm over all workers; returns the norm before clipping."""
        return float(nn.utils.clip_grad_norm_(parameters, largest))

    def whole(self, model: nn.Module) -> Mapping[str, Tensor] | None:
        """The full weights on the CPU, if each worker holds a shard; None if it holds all weights.

        Collective. Only the first worker's mapping has content.
        """
        return None

    def share(self, rows: Sequence[T], rank: int | None = None) -> tuple[Sequence[T], list[int]]:
        """A worker's shard of a global batch, in order, and how many rows each worker has.

        rank: the worker; this one when None.
        """
        rank = self.rank if rank is None else rank
        total = len(rows)
        bounds = [total * r // self.size for r in range(self.size + 1)]
        counts = [stop - start for start, stop in pairwise(bounds)]
        return rows[bounds[rank] : bounds[rank + 1]], counts


def local_device() -> str:
    """`cuda` if torch sees a GPU, else `cpu`; Ray hides GPUs from processes that reserved none."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class SoloWorker(Worker):
    """A single worker."""

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.size, self.device = 0, 1, torch.device(device)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on the device."""
        return module.to(self.device)

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows themselves."""
        return rows

    def settle(self, module: nn.Module) -> None:
        """Do nothing: the module is not sharded."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run with a fixed number of torch threads, which affects the last bits of matrix products."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
