"""Workers of torch's default process group: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ..models import placed, stacks
from .hidden_states import HiddenStateModel
from .worker import Worker


class GroupWorker(Worker):
    """One worker of the default process group, which must be initialized already.

    parallel: `ddp`, every worker holds the whole student and gradients are averaged; `fsdp`, every
        worker holds a shard of each weight, gradient and optimiser state (FSDP2), and a layer is
        gathered only while it computes.
    shard_teacher: whether an online teacher is sharded in the same way.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        parallel: Literal["ddp", "fsdp"] = "ddp",
        shard_teacher: bool = False,
    ) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = device
        self._parallel, self._shard_teacher = parallel, shard_teacher

    def wrap(self, module: nn.Module) -> nn.Module:
        """The student in DistributedDataParallel, or with its weights sharded."""
        module = module.to(self.device)
        if self._parallel == "ddp":
            devices = [self.device] if self.device.type == "cuda" else None
            # A loss between features alone leaves the head without a gradient.
            return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)
        assert isinstance(module, HiddenStateModel), "what is trained is a HiddenStateModel"
        self._shard(module.model)
        for projector in module.projectors:
            fully_shard(projector, mesh=self._mesh())
        return module

    def place(self, teacher: Any, spread_out: bool = False) -> Any:
        """The teacher with its layers sharded; if it is not sharded, placed as for one worker."""
        if not self._shard_teacher or self.size == 1:
            return placed(teacher, self.device, spread_out)
        teacher = teacher.to(self.device)
        self._shard(teacher)
        return teacher

    def _shard(self, model: nn.Module) -> None:
        """Shard each layer separately, then the rest: embeddings, norms and the head.

        The rest stays gathered from the forward to the end of the backward, since losses read the
        head's weights outside of the forward.
        """
        mesh = self._mesh()
        for layers in stacks(model).values():
            for layer in layers:
                fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh, reshard_after_forward=False)

    def _mesh(self) -> DeviceMesh:
        return init_device_mesh(self.device.type, (self.size,))

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all workers in rank order, with a gradient for this worker's own."""
        gathered: Tensor = _GatherRows.apply(rows, tuple(counts), self.rank)  # type: ignore[no-untyped-call]
        return gathered

    def accumulating(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[object]:
        """DDP averages the gradients once, with the last micro-batch.

        FSDP reduces its shards with every micro-batch: full gradients might not fit in memory.
        """
        if isinstance(wrapped, DistributedDataParallel) and not last:
            return wrapped.no_sync()
        return nullcontext()

    def settle(self, module: nn.Module) -> None:
        """Reshard the parameters for the optimiser, as a backward would have done."""
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()

    def clip(self, parameters: Sequence[nn.Parameter], largest: float) -> float:
        """Clip by the norm over all workers' shards."""
        norm = nn.utils.clip_grad_norm_(parameters, largest)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def whole(self, model: nn.Module) -> Mapping[str, Tensor] | None:
        """The full weights, gathered from all workers' shards; see `Worker.whole`."""
        if self._parallel == "ddp":
            return None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        found: dict[str, Any] = get_model_state_dict(model, options=options)
        return found


class _GatherRows(torch.autograd.Function):
    """All-gather of unequal numbers of rows, with the gradient of this worker's rows.

    Every worker computes the whole loss from the gathered rows. The parameters' gradient is the
    sum over workers of the gradients through their own rows. Gradients are averaged over workers,
    so each is multiplied by the number of workers.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...], rank: int) -> Tensor:
        ctx.counts, ctx.rank = counts, rank
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: rows.shape[0]] = rows
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return torch.cat([part[:count] for part, count in zip(received, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        start = sum(ctx.counts[: ctx.rank])
        own = gradients[0][start : start + ctx.counts[ctx.rank]]
        return own * len(ctx.counts), None, None
