"""Distances between paired units: laws first, then references, then the edges."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial import distance
from sklearn.metrics import mean_squared_error

from flexkd_core.losses import cosine_loss, mse_loss

from .drawn import features

LOSSES = [mse_loss, cosine_loss]


@pytest.mark.parametrize("loss", LOSSES)
def test_identical_features_cost_nothing(loss) -> None:
    x_NS = features(6, 4, seed=0)
    assert loss(x_NS, x_NS).item() == pytest.approx(0, abs=1e-15)


def test_mse_grows_with_the_square_of_the_distance() -> None:
    x_NS, y_NS = features(6, 4, seed=0), features(6, 4, seed=1)
    torch.testing.assert_close(mse_loss(3 * x_NS, 3 * y_NS), 9 * mse_loss(x_NS, y_NS))


def test_cosine_sees_directions_alone() -> None:
    x_NS, y_NS = features(6, 4, seed=0), features(6, 4, seed=1)
    lengths_N1 = torch.arange(1, 7, dtype=torch.float64)[:, None]
    torch.testing.assert_close(cosine_loss(x_NS * lengths_N1, y_NS), cosine_loss(x_NS, y_NS))
    assert cosine_loss(-x_NS, x_NS).item() == pytest.approx(2)


def test_agree_with_references() -> None:
    s_NS, t_NS = features(7, 5, seed=2), features(7, 5, seed=3)
    cosines = [distance.cosine(s, t) for s, t in zip(s_NS.numpy(), t_NS.numpy(), strict=True)]
    assert cosine_loss(s_NS, t_NS).item() == pytest.approx(sum(cosines) / 7, rel=1e-12)
    assert mse_loss(s_NS, t_NS).item() == pytest.approx(
        mean_squared_error(t_NS.numpy(), s_NS.numpy()), rel=1e-12
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss) -> None:
    inputs = (features(4, 3, seed=4).requires_grad_(), features(4, 3, seed=5).requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_fp32(loss) -> None:
    s_NS, t_NS = features(4, 3, seed=4).bfloat16(), features(4, 3, seed=5).bfloat16()
    assert loss(s_NS, t_NS).dtype == torch.float32
    assert loss(s_NS, t_NS).item() == pytest.approx(
        loss(s_NS.double(), t_NS.double()).item(), rel=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_no_rows_give_zero_and_a_zero_gradient(loss) -> None:
    s_NS = features(0, 3, seed=4).requires_grad_()
    value = loss(s_NS, features(0, 3, seed=5))
    value.backward()
    assert value.item() == 0
    assert s_NS.grad is not None


@pytest.mark.parametrize("dead", ["student", "teacher"])
def test_zero_row_has_cosine_zero_and_no_gradient(dead: str) -> None:
    s_NS, t_NS = features(2, 3, seed=4), features(2, 3, seed=5)
    t_NS[1] = s_NS[1]
    (s_NS if dead == "student" else t_NS)[0] = 0
    s_NS.requires_grad_()
    loss = cosine_loss(s_NS, t_NS)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert not s_NS.grad[0].any()
    assert s_NS.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_reaches_the_loss(loss) -> None:
    assert loss(torch.tensor([[torch.nan, 1.0]]), torch.ones(1, 2)).isnan()


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_must_match(loss) -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\) and teacher \(4, 2\) must both be"):
        loss(features(4, 3, seed=0), features(4, 2, seed=0))


def test_weights_agree_with_references() -> None:
    s_NS, t_NS = features(7, 4, seed=2), features(7, 4, seed=3)
    weights_S = torch.tensor([1.0, 0.0, 5.0, 2.0])
    weights = [0.5, 0.0, 2.5, 1.0]
    pairs = zip(s_NS.numpy(), t_NS.numpy(), strict=True)
    cosines = [distance.cosine(s, t, w=weights) for s, t in pairs]
    found = cosine_loss(s_NS, t_NS, weights_S=weights_S).item()
    assert found == pytest.approx(sum(cosines) / 7, rel=1e-12)
    error = mean_squared_error(t_NS.numpy(), s_NS.numpy(), multioutput=weights)
    assert mse_loss(s_NS, t_NS, weights_S=weights_S).item() == pytest.approx(error, rel=1e-12)
    for loss in LOSSES:
        equal = loss(s_NS, t_NS, weights_S=torch.full((4,), 3.0))
        torch.testing.assert_close(equal, loss(s_NS, t_NS))
        with pytest.raises(ValueError, match="do not fit 4 units"):
            loss(s_NS, t_NS, weights_S=weights_S[:3])


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_with_weights(loss) -> None:
    weights_S = torch.tensor([1.0, 0.0, 4.0], dtype=torch.float64)
    inputs = (features(4, 3, seed=4).requires_grad_(), features(4, 3, seed=5).requires_grad_())
    assert torch.autograd.gradcheck(lambda s, t: loss(s, t, weights_S=weights_S), inputs)


@pytest.mark.parametrize("loss", LOSSES)
def test_weighted_rows_of_two_workers_add_up(loss) -> None:
    s_NS, t_NS = features(7, 4, seed=2), features(7, 4, seed=3)
    weights_S = torch.tensor([1.0, 0.0, 5.0, 2.0])
    first, second = (
        loss(s_NS[part], t_NS[part], weights_S=weights_S) for part in (slice(3), slice(3, 7))
    )
    whole = loss(s_NS, t_NS, weights_S=weights_S)
    torch.testing.assert_close((3 * first + 4 * second) / 7, whole)
