"""The graph above one layer: its gradient is the full graph's, and nothing is left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flexkd_core.scoring import layer_leaf


def full_graph_gradient(teacher, layer: nn.Module, outputs_B) -> torch.Tensor:
    """∂F/∂h the usual way: the whole graph, h kept by a hook that changes nothing."""
    kept = []

    def keep(_module, _args, output):
        kept.append(output[0] if isinstance(output, tuple) else output)

    handle = layer.register_forward_hook(keep)
    logits_BC = teacher.forward()
    handle.remove()
    (gradient_BTD,) = torch.autograd.grad(outputs_B(logits_BC).sum(), kept)
    return gradient_BTD


@pytest.mark.parametrize("index", [0, 1])
def test_gradient_is_that_of_the_full_graph(teacher, index: int) -> None:
    layer = teacher.layers[index]
    expected_BTD = full_graph_gradient(teacher, layer, lambda logits: logits[:, 1])
    with torch.no_grad(), layer_leaf(layer) as leaf:
        logits_BC = teacher.forward()
    (gradient_BTD,) = torch.autograd.grad(logits_BC[:, 1].sum(), leaf.hidden_BTD)
    assert expected_BTD.abs().max() > 1e-3
    torch.testing.assert_close(gradient_BTD, expected_BTD, rtol=0, atol=1e-6)
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_below_the_layer_there_is_no_graph(teacher) -> None:
    states = []
    handle = teacher.layers[0].register_forward_hook(
        lambda _module, _args, output: states.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    with torch.no_grad(), layer_leaf(teacher.layers[1]) as leaf:
        logits_BC = teacher.forward()
    handle.remove()
    assert not states[0].requires_grad
    assert logits_BC.requires_grad
    assert leaf.hidden_BTD.is_leaf
    assert leaf.hidden_BTD.requires_grad


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_grad_mode_and_hooks_are_restored(cubic, hidden_BTD, enabled: bool, graph: bool) -> None:
    with torch.set_grad_enabled(enabled):
        with layer_leaf(cubic.layer, graph=graph):
            cubic(hidden_BTD)
        assert torch.is_grad_enabled() is enabled
    assert not cubic.layer._forward_hooks


def test_grad_mode_and_hooks_are_restored_after_an_exception(cubic, hidden_BTD) -> None:
    def fail() -> None:
        with layer_leaf(cubic.layer):
            cubic(hidden_BTD)
            assert torch.is_grad_enabled()
            raise KeyError("from the forward")

    with torch.no_grad():
        with pytest.raises(KeyError):
            fail()
        assert not torch.is_grad_enabled()
    assert not cubic.layer._forward_hooks


def test_watching_changes_nothing(cubic, hidden_BTD) -> None:
    with torch.no_grad(), layer_leaf(cubic.layer, graph=False) as leaf:
        logits_BC = cubic(hidden_BTD)
    assert torch.equal(leaf.hidden_BTD, hidden_BTD)
    assert not logits_BC.requires_grad


def test_substitute_takes_the_place_of_the_output(cubic, hidden_BTD) -> None:
    with torch.no_grad(), layer_leaf(cubic.layer, substitute_BTD=hidden_BTD / 2) as leaf:
        logits_BC = cubic(hidden_BTD)
    torch.testing.assert_close(logits_BC, cubic(hidden_BTD / 2))
    assert torch.equal(leaf.hidden_BTD, hidden_BTD / 2)
    assert not hidden_BTD.requires_grad


def test_the_last_run_of_a_shared_layer_is_the_leaf() -> None:
    layer = nn.Linear(4, 4)
    x_BTD = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), layer_leaf(layer) as leaf:
        output_BTD = layer(layer(x_BTD))
    (gradient_BTD,) = torch.autograd.grad(output_BTD.pow(2).sum(), leaf.hidden_BTD)
    torch.testing.assert_close(gradient_BTD, 2 * layer(layer(x_BTD)))


def test_errors_say_what_to_do(cubic, hidden_BTD) -> None:
    with layer_leaf(cubic.layer) as leaf, pytest.raises(ValueError, match="did not run"):
        _ = leaf.hidden_BTD
    with (
        layer_leaf(cubic.layer, substitute_BTD=hidden_BTD[:1]),
        pytest.raises(ValueError, match=r"substitute \(1, 5, 4\)"),
    ):
        cubic(hidden_BTD)
    with layer_leaf(cubic), pytest.raises(ValueError, match=r"but returned shape \(3, 3\)"):
        cubic(hidden_BTD)
    with (
        torch.inference_mode(),
        layer_leaf(cubic.layer),
        pytest.raises(ValueError, match=r"use torch.no_grad\(\)"),
    ):
        cubic(hidden_BTD)
