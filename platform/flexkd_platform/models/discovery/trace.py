"""What every module of a model returns in one forward pass, and in which order.

Shapes: B examples, T positions, D hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Trace:
    """One forward pass in eval mode, without gradients.

    order: paths of the modules, in the order in which they returned; one that ran twice is there
        twice.
    states: the latest tensor that each returned, or the first of those that it returned.
    output: of the whole model.
    """

    order: tuple[str, ...]
    states: Mapping[str, Tensor]
    output: Any

    def runs(self, path: str) -> int:
        """How often a module ran."""
        return self.order.count(path)

    def after(self, path: str) -> tuple[str, ...]:
        """The modules that returned after the last run of this one."""
        last = len(self.order) - 1 - self.order[::-1].index(path)
        return self.order[last + 1 :]


def trace(model: nn.Module, inputs: Mapping[str, Tensor]) -> Trace:
    """Run a model and record its modules."""
    order: list[str] = []
    states: dict[str, Tensor] = {}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            order.append(path)
            state = output[0] if isinstance(output, tuple) and output else output
            if isinstance(state, Tensor):
                # A copy: some models add to a hidden state in place.
                states[path] = state.detach().clone()

        return hook

    handles = [m.register_forward_hook(keep(path)) for path, m in model.named_modules() if path]
    try:
        with torch.no_grad():
            output = model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Trace(tuple(order), states, output)


def same(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors hold the same numbers, but for rounding."""
    return left.shape == right.shape and torch.allclose(left, right, rtol=1e-4, atol=1e-5)


def lists_of(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Each `nn.ModuleList` of a model, by path, with the paths of its modules."""
    return {
        path: tuple(f"{path}.{name}" for name, _ in module.named_children())
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
    }


def shown(paths: Iterable[str]) -> str:
    """Some paths for a message: the first ones, and how many more there are."""
    every = list(paths)
    more = f" and {len(every) - 6} more" if len(every) > 6 else ""
    return (", ".join(every[:6]) or "none") + more
