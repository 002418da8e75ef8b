"""One vocabulary of two padded ones: cut, never filled."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flexkd_core.losses import forward_kl, same_vocabulary


@settings(max_examples=30)
@given(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9))
def test_both_keep_the_columns_they_share(rows: int, student: int, teacher: int) -> None:
    generator = torch.Generator().manual_seed(0)
    s_NV = torch.randn(rows, student, generator=generator)
    t_NV = torch.randn(rows, teacher, generator=generator)
    cut_s_NV, cut_t_NV = same_vocabulary(s_NV, t_NV)
    shared = min(student, teacher)
    assert torch.equal(cut_s_NV, s_NV[:, :shared])
    assert torch.equal(cut_t_NV, t_NV[:, :shared])


def test_sizes_of_one_family_differ_by_padding() -> None:
    # Qwen2.5 0.5B and 7B: embeddings of 151,936 and 152,064 rows over one tokenizer.
    s_NV, t_NV = torch.zeros(1, 151_936), torch.zeros(1, 152_064)
    assert [x.shape[1] for x in same_vocabulary(s_NV, t_NV)] == [151_936, 151_936]


def test_padding_changes_no_loss() -> None:
    x_NV = torch.randn(3, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    t_NV = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    loss = forward_kl(*same_vocabulary(x_NV, t_NV))
    loss.backward()
    torch.testing.assert_close(loss, forward_kl(x_NV[:, :5], t_NV))
    assert not x_NV.grad[:, 5:].any()


def test_another_tokenizer_is_refused() -> None:
    small_NV, large_NV = torch.zeros(2, 3), torch.zeros(2, 1028)
    assert same_vocabulary(small_NV[:, :], large_NV[:, :1027])[1].shape == (2, 3)
    with pytest.raises(ValueError, match=r"3 \(student\) and 1028 \(teacher\).*share a tokenizer"):
        same_vocabulary(small_NV, large_NV)
    with pytest.raises(ValueError, match=r"1028 \(student\) and 3 \(teacher\)"):
        same_vocabulary(large_NV, small_NV)
    with pytest.raises(ValueError, match=r"padding \(4\)"):
        same_vocabulary(torch.zeros(1, 5), torch.zeros(1, 10), largest_padding=4)


def test_rows_must_match() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and teacher \(1, 3\)"):
        same_vocabulary(torch.zeros(2, 3), torch.zeros(1, 3))
