"""Measure what it costs to use a model: latency, weights, and memory of the device."""

from __future__ import annotations

import time
from itertools import chain

import torch
from torch import nn

from ..artifacts import ModelCost
from ..tasks import Examples
from .hidden_states import positioned

PASSES = 5
"""Timed forward passes, after one that is not timed."""


@torch.no_grad()
def measure_cost(model: nn.Module, examples: Examples, device: torch.device) -> ModelCost:
    """The cost of a model in eval mode on one example of median length.

    The latency is the shortest of `PASSES`: what else the machine computes only adds to it.

    Raises:
        ValueError: there is no example.
    """
    if not len(examples):
        raise ValueError("a cost is measured on an example, and there is none")
    row = sorted(range(len(examples)), key=examples.length)[len(examples) // 2]
    batch = examples.batch([row])
    inputs = positioned({name: value.to(device) for name, value in batch.inputs.items()})
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    model(**inputs)
    times = []
    for _ in range(PASSES):
        _settled(device)
        started = time.perf_counter()
        model(**inputs)
        _settled(device)
        times.append(time.perf_counter() - started)
    tensors = list(chain(model.parameters(), model.buffers()))
    return ModelCost(
        device=device_name(device),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        latency_ms=1000 * min(times),
        tokens=examples.length(row),
        peak_bytes=torch.cuda.max_memory_allocated(device) if on_gpu else None,
    )


def device_name(device: torch.device) -> str:
    """`NVIDIA H100 80GB HBM3`, or `CPU, 2 threads`: the threads that torch uses."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"{device.type.upper()}, {threads} {'thread' if threads == 1 else 'threads'}"


def _settled(device: torch.device) -> None:
    """Wait for what was started on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
