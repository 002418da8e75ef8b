"""The projector: linear, bias-free, and seeded by its generator alone."""

from __future__ import annotations

import pytest
import torch

from flexkd_core.losses import Projector


def make(seed: int) -> Projector:
    return Projector(6, 10, torch.Generator().manual_seed(seed))


def test_is_linear_and_maps_any_leading_dimensions() -> None:
    projector, s_BTS = make(0), torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    assert projector(s_BTS).shape == (2, 3, 10)
    assert not projector(torch.zeros(4, 6)).any()
    torch.testing.assert_close(projector(3 * s_BTS), 3 * projector(s_BTS))
    torch.testing.assert_close(
        projector(s_BTS), torch.einsum("bts,us->btu", s_BTS, projector.weight)
    )


def test_the_weight_is_all_that_is_saved_and_trained() -> None:
    projector = make(0)
    assert list(projector.state_dict()) == ["weight"]
    projector(torch.ones(1, 6)).sum().backward()
    assert projector.weight.grad is not None


def test_same_seed_same_weight_and_the_global_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    assert torch.equal(make(3).weight, make(3).weight)
    assert not torch.equal(make(3).weight, make(4).weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_are_those_of_a_linear_layer() -> None:
    # nn.Linear draws U(-1/√S, 1/√S); with 60 draws the range is nearly filled.
    weight_TS = make(0).weight.detach()
    assert weight_TS.abs().max() <= 6**-0.5
    assert weight_TS.abs().max() > 0.8 * 6**-0.5


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Projector(0, 4, torch.Generator())
