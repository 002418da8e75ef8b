"""Aggregation: a sum of parts is the sum of the whole, and its digest tells it apart."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
import torch

from flexkd_core.scoring import Importance, ImportanceSum


def importance(score_BD: torch.Tensor, valid: list[bool] | None = None) -> Importance:
    examples, units = score_BD.shape
    return Importance(
        score_BD=score_BD.double(),
        valid_B=torch.tensor(valid if valid is not None else [True] * examples, dtype=torch.bool),
        hidden_BTD=torch.zeros(examples, 1, units),
        logits_BC=torch.zeros(examples, 2),
    )


def scores(examples: int) -> torch.Tensor:
    return torch.rand(examples, 5, generator=torch.Generator().manual_seed(examples))


def test_mean_is_over_the_valid_examples_alone() -> None:
    score_BD = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 6.0]])
    total = ImportanceSum.of(importance(score_BD, [True, False, True]))
    assert total.count == 2
    assert total.mean().tolist() == [2.0, 4.0]


@pytest.mark.parametrize("cut", [0, 1, 4, 9])
def test_parts_add_up_to_the_whole(cut: int) -> None:
    score_BD = scores(9)
    whole = ImportanceSum.of(importance(score_BD))
    parts = ImportanceSum.of(importance(score_BD[:cut])) + ImportanceSum.of(
        importance(score_BD[cut:])
    )
    assert parts.count == 9
    np.testing.assert_allclose(parts.mean(), whole.mean(), rtol=1e-14)
    np.testing.assert_allclose(whole.mean(), score_BD.double().mean(0), rtol=1e-14)


def test_empty_is_neutral() -> None:
    total = ImportanceSum.of(importance(scores(4)))
    assert (ImportanceSum.empty(5) + total).digest() == total.digest()
    assert total.merge(ImportanceSum.empty(5)).digest() == total.digest()


def test_mean_of_one_repeated_fp32_vector_is_that_vector() -> None:
    # What makes the random control's G its seeded vector, to the last bit.
    score_D = torch.rand(5, generator=torch.Generator().manual_seed(0))
    total = ImportanceSum.of(importance(score_D.expand(37, 5)))
    assert np.array_equal(total.mean(), score_D.double().numpy())


def test_digest_is_the_hash_of_the_little_endian_mean() -> None:
    total = ImportanceSum(np.array([1.0, 3.0]), 2)
    assert total.digest() == hashlib.sha256(struct.pack("<2d", 0.5, 1.5)).hexdigest()
    assert total.digest() != ImportanceSum(np.array([1.0, 3.0 + 1e-15]), 2).digest()


def test_errors() -> None:
    with pytest.raises(ValueError, match="no example was counted"):
        ImportanceSum.empty(3).mean()
    with pytest.raises(ValueError, match="over 3 and 4 units"):
        ImportanceSum.empty(3).merge(ImportanceSum.empty(4))
    with pytest.raises(ValueError, match="a vector and a count"):
        ImportanceSum(np.zeros((2, 2)), 1)
