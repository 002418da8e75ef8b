"""A forward hook that extracts the hidden state of a layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from .hook import Hook


class HiddenStateHook(Hook):
    """Keeps the hidden state that a layer returns, with its graph, in every forward.

    Shapes: B examples, T tokens, D hidden units.

    The hook is registered on the layer itself, so it also works in a data-parallel wrapper, whether
    the model is wrapped before or after:

        with HiddenStateHook(hidden_layers(model)[-1]) as hook:
            logits = model(**batch).logits
            hidden_BTD = hook.take()
    """

    def __init__(self, layer: nn.Module) -> None:
        self._hidden_BTD: Tensor | None = None
        self._handle = layer.register_forward_hook(self._keep)

    def _keep(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # Layers return their hidden state, or a tuple that starts with it.
        self._hidden_BTD = output[0] if isinstance(output, tuple) else output

    def take(self) -> Tensor:
        """The hidden state (B, T, D) of the latest forward; it can be taken once.

        The hook drops its reference, so that no graph outlives its step.

        Raises:
            RuntimeError: no forward has run since the last call.
        """
        if self._hidden_BTD is None:
            raise RuntimeError("no forward has run since the last take(); run the model first")
        hidden_BTD, self._hidden_BTD = self._hidden_BTD, None
        return hidden_BTD

    @override
    def remove(self) -> None:
        self._handle.remove()
        self._hidden_BTD = None
