"""Small trainings of one or several processes: what checkpoints are tested with.

As a script it starts processes that save checkpoints in one world, of few workers or many, and go
on from them in another: `python checkpoint_worlds.py FOLDER`.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from flexkd_platform.plan import KINDS, Step, StepConfig
from flexkd_platform.store import Store, open_store
from flexkd_platform.training.checkpoint import Checkpoints, Loaded, copy_of_weights
from flexkd_platform.training.worker import SoloWorker, Worker

PROCESSES = 3
SOLO, DDP2, DDP3 = ("solo", 1), ("ddp", 2), ("ddp", 3)
FSDP1, FSDP2, FSDP3 = ("fsdp", 1), ("fsdp", 2), ("fsdp", 3)
PAIRS = [
    (SOLO, FSDP2),
    (FSDP2, SOLO),
    (SOLO, DDP2),
    (DDP2, SOLO),
    (DDP3, FSDP2),
    (FSDP2, DDP3),
    (DDP3, DDP2),
    (FSDP2, FSDP2),
    (FSDP2, FSDP3),
    (FSDP3, FSDP2),
    (FSDP3, FSDP1),
]
"""A world that saves, and one that goes on."""


class Seeded(StepConfig):
    """The config of a step that is not looked into."""

    kind = KINDS["distill"]

    def to_identity(self) -> dict[str, Any]:
        """A seed."""
        return {"seed": 1}


STEP = Step(Seeded())
NOTES = {"log": [{"step": 1, "train/loss": 0.1}], "größe": None}
FURTHER = {"order": torch.arange(5), "scale": torch.tensor(0.5, dtype=torch.float64)}


class Network(nn.Module):
    """Tied, uneven, frozen, idle and buffered: each has its own way to be forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.body = nn.Linear(6, 6)
        self.narrow = nn.Linear(6, 1)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.words.weight
        self.idle = nn.Linear(2, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, ids_N: Tensor) -> Tensor:
        """One number a row."""
        self.seen += 1
        hidden_NH = torch.tanh(self.body(self.words(ids_N)))
        outputs: Tensor = self.head(hidden_NH).square().mean(dim=1) + self.narrow(hidden_NH)[:, 0]
        return outputs


class Group(SoloWorker):
    """A worker of the default process group, as far as checkpoints ask."""

    def __init__(self) -> None:
        super().__init__()
        self.rank, self.size = dist.get_rank(), dist.get_world_size()


class Training:
    """A network in a world's wrapper, with its optimiser."""

    def __init__(self, kind: str = "solo", size: int = 1, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = Network()
        self.wrapped: nn.Module = self.network
        if kind == "ddp":
            self.wrapped = DistributedDataParallel(self.network, find_unused_parameters=True)
        elif kind == "fsdp":
            mesh = init_device_mesh("cpu", (size,))
            fully_shard(self.network.body, mesh=mesh)
            fully_shard(self.network, mesh=mesh, reshard_after_forward=False)
        trained = [p for p in self.wrapped.parameters() if p.requires_grad]
        self.optimizer = AdamW(trained, lr=0.05, betas=(0.8, 0.9), weight_decay=0.01, fused=True)

    def run(self, first: int, last: int) -> None:
        """Steps `first` to `last`, every worker on the same rows."""
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            ids_N = torch.randint(11, (8,), generator=generator)
            for group in self.optimizer.param_groups:
                group["lr"] = 0.05 / (step + 1)
            self.optimizer.zero_grad(set_to_none=True)
            self.wrapped(ids_N).square().mean().backward()
            self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """All of it, whole, whoever holds it; collective."""
        found: dict[str, Any] = {k: whole(v).clone() for k, v in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{name}: {key}"] = whole(value).clone()
        for place, group in enumerate(self.optimizer.param_groups):
            found |= {f"{place} {k}": v for k, v in group.items() if k != "params"}
        return found

    def save(self, checkpoints: Checkpoints, number: int) -> None:
        """With its present weights as the best, and tensors that are no module's."""
        more = {"best": copy_of_weights(self.wrapped), "further": FURTHER}
        checkpoints.save(number, self.wrapped, self.optimizer, NOTES, more)

    def load(self, checkpoints: Checkpoints) -> Loaded | None:
        """From the newest."""
        return checkpoints.load(self.wrapped, self.optimizer)


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all of its shares."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What is not the same in two states, bit for bit."""
    names = one.keys() ^ other.keys()
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        if isinstance(a, Tensor):
            same = isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
        else:
            same = type(a) is type(b) and a == b
        if not same:
            names |= {name}
    return sorted(names)


def newest_files(store: Store) -> list[str]:
    """The files of the workers of the newest checkpoint, in rank order."""
    names = sorted(store.parts(STEP))
    stem = max(name.partition(".")[0] for name in names)
    return [name for name in names if name.startswith(stem) and name.endswith(".safetensors")]


class Process:
    """One of the processes, which form one world after the other."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.rank, self.folder, self._met = rank, folder, 0
        self.found: dict[str, Any] = {}

    @contextmanager
    def world(self, kind: str, size: int) -> Iterator[Worker | None]:
        """This process as a worker of a world; None where it is none."""
        self._met += 1
        if self.rank >= size:
            yield None
            return
        if kind == "solo":
            yield SoloWorker()
            return
        meeting = f"file://{self.folder}/meeting-{self._met}"
        dist.init_process_group("gloo", init_method=meeting, rank=self.rank, world_size=size)
        try:
            yield Group()
        finally:
            dist.destroy_process_group()

    def rest(self) -> None:
        """Wait until all processes are here."""
        self._met += 1
        meeting = f"file://{self.folder}/meeting-{self._met}"
        dist.init_process_group("gloo", init_method=meeting, rank=self.rank, world_size=PROCESSES)
        dist.barrier()
        dist.destroy_process_group()

    def pair(self, saved: tuple[str, int], loaded: tuple[str, int]) -> None:
        """Save in one world, go on in another."""
        name = f"{loaded[0]} x {loaded[1]} from {saved[0]} x {saved[1]}"
        store = open_store(str(self.folder / name))
        before: dict[str, Any] = {}
        with self.world(*saved) as worker:
            if worker is not None:
                training = Training(*saved)
                training.run(0, 3)
                training.save(Checkpoints(STEP, store, worker), 3)
                before = training.state()
        self.rest()
        with self.world(*loaded) as worker:
            if worker is not None:
                training = Training(*loaded, seed=7)
                found = training.load(Checkpoints(STEP, store, worker))
                assert found is not None
                after = training.state()
                best = {key: whole(value) for key, value in found.more["best"].items()}
                further = found.more["further"]
                training.run(3, 5)
                later = training.state()
                if self.rank == 0:
                    weights = {
                        k: v for k, v in before.items() if k in training.network.state_dict()
                    }
                    self.found[name] = {
                        "number": found.number,
                        "notes": found.notes,
                        "different": differences(before, after),
                        "different best": differences(weights, best),
                        "different further": differences(FURTHER, dict(further)),
                        "files": len(newest_files(store)),
                        "same after": differences(after, later) == [],
                    }
        self.rest()

    def damage(self) -> None:
        """What one worker alone needs is damaged: all of them take the checkpoint before."""
        store = open_store(str(self.folder / "damaged"))
        with self.world("fsdp", 3) as worker:
            assert worker is not None
            training = Training("fsdp", 3)
            checkpoints = Checkpoints(STEP, store, worker)
            training.run(0, 2)
            training.save(checkpoints, 2)
            before = training.state()
            training.run(2, 4)
            training.save(checkpoints, 4)
            dist.barrier()
            if self.rank == 0:
                store.write_part(STEP, newest_files(store)[-1], b"not this")
            dist.barrier()
            resumed = Training("fsdp", 3, seed=7)
            found = resumed.load(checkpoints)
            assert found is not None
            lost = differences(before, resumed.state())
            if self.rank == 0:
                self.found["damaged"] = {"number": found.number, "different": lost}


def meet(rank: int, folder: Path) -> None:
    """What one process does; the first one writes what was found."""
    process = Process(rank, folder)
    for saved, loaded in PAIRS:
        process.pair(saved, loaded)
    process.damage()
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(process.found))


def main() -> int:
    """Start the processes; when one fails the others would wait for it, so they are ended."""
    torch.set_num_threads(1)
    # Forked: they are here at once, where each import of transformers takes seconds.
    context = multiprocessing.get_context("fork")
    folder = Path(sys.argv[1])
    running = [context.Process(target=meet, args=(rank, folder)) for rank in range(PROCESSES)]
    for process in running:
        process.start()
    left = {process.sentinel: process for process in running}
    failed = False
    while left:
        for ended in multiprocessing.connection.wait(list(left)):
            process = left.pop(ended)  # type: ignore[index]
            process.join()
            if process.exitcode and not failed:
                failed = True
                for other in left.values():
                    other.kill()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
