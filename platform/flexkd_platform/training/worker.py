"""What a training loop knows of the workers that run it together.

The loop takes this as an argument: one worker runs it directly, several run it under Ray Train.
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

        The gradient that comes back is scaled so that, after `wrap` has averaged it, a loss
        computed from the gathered rows on every worker has the gradient it has on one worker.
        """

    def accumulating(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Within it, a forward and backward of one micro-batch; only the `last` need be shared."""
        return nullcontext()

    def place(self, teacher: Any, spread_out: bool = False) -> Any:
        """A teacher that is asked live, on this worker's device or spread over all of them."""
        return placed(teacher, self.device, spread_out)

    @abstractmethod
    def settle(self, module: nn.Module) -> None:
        """Let go of what a forward without a backward has left whole of a module in shares."""

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> float:
        """Clip the gradients of all workers' parameters together to a norm; what it was before."""
        return float(nn.utils.clip_grad_norm_(parameters, largest))

    def whole(self, model: nn.Module) -> Mapping[str, Tensor] | None:
        """The weights where a worker holds a share of them, on the CPU; None where it holds all.

        Collective. Only the first worker's mapping has content.
        """
        return None

    def share(self, rows: Sequence[T], rank: int | None = None) -> tuple[Sequence[T], list[int]]:
        """A worker's part of a global batch, in order, and how many rows each worker has.

        rank: whose part; this worker's when None.
        """
        rank = self.rank if rank is None else rank
        total = len(rows)
        bounds = [total * r // self.size for r in range(self.size + 1)]
        counts = [stop - start for start, stop in pairwise(bounds)]
        return rows[bounds[rank] : bounds[rank + 1]], counts


def local_device() -> str:
    """`cuda` where torch sees a GPU, which Ray hides from what has reserved none; else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class SoloWorker(Worker):
    """The only worker there is."""

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.size, self.device = 0, 1, torch.device(device)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on the device."""
        return module.to(self.device)

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows themselves."""
        return rows

    def settle(self, module: nn.Module) -> None:
        """Everything is whole."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run with a fixed number of torch threads: it decides the last bits of a matrix product."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
