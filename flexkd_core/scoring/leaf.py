"""Cut the autograd graph at the scored layer, so that only the graph above it is built.

Shapes: B examples, T positions, D units of the scored layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class LayerLeaf:
    """What `layer_leaf` yields: the scored layer's output of the last forward."""

    def __init__(self) -> None:
        self._hidden_BTD: Tensor | None = None

    @property
    def hidden_BTD(self) -> Tensor:
        """The leaf that replaces the layer's output in the graph, in the layer's dtype.

        Raises:
            ValueError: no forward has passed through the layer yet.
        """
        if self._hidden_BTD is None:
            raise ValueError(
                "the scored layer did not run: pass a module that the forward calls, for example "
                "the last block of the model that `forward` runs"
            )
        return self._hidden_BTD


@contextmanager
def layer_leaf(
    layer: nn.Module, *, graph: bool = True, substitute_BTD: Tensor | None = None
) -> Iterator[LayerLeaf]:
    """Make the output of `layer` a leaf of the graph during the forwards inside the block.

    A forward hook replaces the output h by a detached leaf that requires a gradient, and turns
    gradients on from there: inside `torch.no_grad()` everything below the layer runs without a
    graph, and ∂F/∂h through the modules above is exact. If a module runs several times in a forward
    (shared layers), the last run is the leaf.

    Take the gradient with `torch.autograd.grad(F, leaf.hidden_BTD)`, which fills no parameter's
    `.grad` and computes no parameter's gradient.

    Args:
        layer: a module whose output is a tensor (B, T, D) or a tuple that starts with one.
        graph: False only records: the output is passed on unchanged and grad mode is not changed.
        substitute_BTD: values that replace the layer's output, of the same shape.

    Yields:
        The holder of the leaf. Grad mode is restored and the hook removed at the block's end, also
        after an exception.

    Raises:
        ValueError: the layer's output is neither of the two kinds, or of another shape than the
            substitute; inference mode is on, in which no graph can be built.
    """
    leaf = LayerLeaf()

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        hidden_BTD = _first_tensor(output)
        if substitute_BTD is not None:
            if substitute_BTD.shape != hidden_BTD.shape:
                raise ValueError(
                    f"substitute {tuple(substitute_BTD.shape)} is not of the layer's output shape "
                    f"{tuple(hidden_BTD.shape)}"
                )
            hidden_BTD = substitute_BTD
        hidden_BTD = hidden_BTD.detach()
        leaf._hidden_BTD = hidden_BTD
        if graph:
            if torch.is_inference_mode_enabled():
                raise ValueError("no gradient can be taken in inference mode: use torch.no_grad()")
            hidden_BTD.requires_grad_()
            torch.set_grad_enabled(True)
        return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD

    grad_mode = torch.is_grad_enabled()
    handle = layer.register_forward_hook(hook)
    try:
        yield leaf
    finally:
        handle.remove()
        torch.set_grad_enabled(grad_mode)


def _first_tensor(output: object) -> Tensor:
    """The hidden state in a layer's output."""
    hidden = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(hidden, Tensor) or hidden.ndim != 3:
        found = f"shape {tuple(hidden.shape)}" if isinstance(hidden, Tensor) else type(hidden)
        raise ValueError(
            "the scored layer must return hidden states (batch, positions, units), alone or first "
            f"in a tuple, but returned {found}: choose a block of the model as the layer"
        )
    return hidden
