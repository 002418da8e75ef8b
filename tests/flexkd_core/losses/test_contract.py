"""What every loss of the tables promises, whichever it is."""

from __future__ import annotations

import pytest
import torch

from flexkd_core.losses import CLASS_LOSSES, FEATURE_LOSSES, LOGIT_LOSSES

LOSSES = {**FEATURE_LOSSES, **LOGIT_LOSSES}


def test_tables_hold_what_the_documentation_names() -> None:
    assert list(FEATURE_LOSSES) == [
        "correlation",
        "cka",
        "mse",
        "cosine",
        "procrustes",
        "gram",
    ]
    assert list(LOGIT_LOSSES) == [
        "forward_kl",
        "reverse_kl",
        "jsd",
        "skew_forward_kl",
        "skew_reverse_kl",
        "tvd",
        "logit_mse",
        "squared_error",
    ]
    assert list(CLASS_LOSSES) == list(LOGIT_LOSSES)[:-1]
    assert len(LOSSES) == 14


def rows(count: int, name: str, seed: int, dtype: torch.dtype) -> torch.Tensor:
    units = 1 if name == "squared_error" else 3
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, units, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scalar_on_the_graph_in_the_promised_dtype(
    name: str, count: int, dtype: torch.dtype
) -> None:
    student = rows(count, name, 0, dtype).requires_grad_()
    loss = LOSSES[name](student, rows(count, name, 1, dtype))
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.isfinite()
    assert loss >= 0
    assert student.grad is not None
    assert student.grad.isfinite().all()
    if count == 0:
        assert loss.item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_different_rows_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(3, \d\) and teacher \(4, \d\)"):
        LOSSES[name](rows(3, name, 0, torch.float32), rows(4, name, 1, torch.float32))
