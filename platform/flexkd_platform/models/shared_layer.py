"""One layer of an architecture that applies the same module as several layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from typing_extensions import override

from ..model_info.family import Stack


class SharedLayer(nn.Module):
    """One of the layers that a module is applied as, for forward hooks.

    It holds no weights, and the model does not call it: a hook on it runs after one call of the
    shared module in every forward of the backbone, and its result replaces that call's output.

    backbone: whose forward starts the count of calls.
    shared: the module that is applied as several layers.
    call: which of its calls in a forward, from 0, is this layer.
    """

    def __init__(self, backbone: nn.Module, shared: nn.Module, call: int) -> None:
        super().__init__()
        # In a tuple, so that they do not become submodules.
        self._modules_of = (backbone, shared)
        self._call = call

    @override
    def register_forward_hook(self, hook: Callable[..., Any], **options: Any) -> RemovableHandle:
        """Run `hook(module, inputs, output)` after this layer; options are those of a module."""
        backbone, shared = self._modules_of
        calls = 0

        def start(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            nonlocal calls
            calls = 0

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            nonlocal calls
            calls += 1
            return hook(module, inputs, output) if calls == self._call + 1 else None

        started = backbone.register_forward_pre_hook(start)
        ended = shared.register_forward_hook(after, **options)
        return _Both(started, ended)


class _Both(RemovableHandle):
    """Removes both hooks of a shared layer."""

    def __init__(self, first: RemovableHandle, second: RemovableHandle) -> None:
        self._handles = (first, second)

    @override
    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def shared_layer(model: PreTrainedModel, stack: Stack, index: int) -> SharedLayer:
    """The layer of a stack whose modules are each applied as several layers in a row."""
    assert stack.groups is not None, "the layers of this stack are modules of their own"
    layers, groups = getattr(model.config, stack.layers), getattr(model.config, stack.groups)
    owners = [int(layer / (layers / groups)) for layer in range(layers)]  # as in transformers
    owner = owners[index]
    shared = model.base_model.get_submodule(stack.path)[owner]
    return SharedLayer(model.base_model, shared, index - owners.index(owner))
