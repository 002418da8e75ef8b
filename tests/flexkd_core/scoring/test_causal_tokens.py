"""`label_logprob` of a causal model: shifted labels, prompts, padding, and examples without any."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flexkd_core.moments import MomentKind
from flexkd_core.scoring import Importance, ImportanceSum, unit_importance

VOCABULARY, UNITS, PADDING = 11, 4, 0

IDS_BT = torch.tensor(
    [
        [3, 7, 2, 9, 4, 1],
        [5, 6, 8, 1, PADDING, PADDING],
        [2, 2, 10, PADDING, PADDING, PADDING],  # cut before its response: nothing but a prompt
    ]
)
PROMPTS_B = [2, 1, 3]
LENGTHS_B = [6, 4, 3]


class Causal(nn.Module):
    """Position t sees the hidden states up to t; its logits are of the token at t + 1."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def matrix(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(
                torch.randn(rows, columns, dtype=torch.float64, generator=generator)
            )

        self.embedding_VD, self.head_VD = matrix(VOCABULARY, UNITS), matrix(VOCABULARY, UNITS)
        self.layer = nn.Tanh()

    def above(self, hidden_BTD: Tensor) -> Tensor:
        seen_T1 = torch.arange(1, hidden_BTD.shape[1] + 1)[:, None]
        return (hidden_BTD.cumsum(dim=1) / seen_T1 + hidden_BTD**2) @ self.head_VD.T

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.above(self.layer(self.embedding_VD[ids_BT]))


def next_tokens(ids_BT: Tensor = IDS_BT) -> Tensor:
    """Labels aligned with the logits: the next token where it is of the response, else −100."""
    labels_BT = torch.full_like(ids_BT, -100)
    for example, (prompt, length) in enumerate(zip(PROMPTS_B, LENGTHS_B, strict=True)):
        labels_BT[example, prompt - 1 : length - 1] = ids_BT[example, prompt:length]
    return labels_BT


def score(ids_BT: Tensor, labels_BT: Tensor, moments: MomentKind | None = None) -> Importance:
    model = Causal()
    return unit_importance(
        lambda: model(ids_BT),
        model.layer,
        labels_BT != -100,
        output="label_logprob",
        labels_B=labels_BT,
        moments=moments,
    )


def reference(example: int) -> tuple[Tensor, Tensor]:
    """Mean of |∂F/∂h| over the rows of one unpadded example, and ∂F/∂h at each of them.

    F is summed token by token.
    """
    model, length, prompt = Causal(), LENGTHS_B[example], PROMPTS_B[example]
    ids_T = IDS_BT[example, :length]
    hidden_TD = torch.tanh(model.embedding_VD[ids_T]).detach().requires_grad_()
    log_p_TV = model.above(hidden_TD[None])[0].log_softmax(dim=1)
    total = sum(log_p_TV[t - 1, ids_T[t]] for t in range(prompt, length))
    (gradient_TD,) = torch.autograd.grad(total, hidden_TD)
    rows_RD = gradient_TD[prompt - 1 : length - 1]
    return rows_RD.abs().mean(dim=0), rows_RD


def test_labels_are_those_of_the_next_response_token() -> None:
    assert next_tokens().tolist() == [
        [-100, 2, 9, 4, 1, -100],
        [6, 8, 1, -100, -100, -100],
        [-100] * 6,
    ]


@pytest.mark.parametrize("example", [0, 1])
def test_agrees_with_one_unpadded_example_at_a_time(example: int) -> None:
    importance = score(IDS_BT, next_tokens())
    magnitude_D, _ = reference(example)
    torch.testing.assert_close(importance.score_BD[example], magnitude_D, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("moments", ["token", "example"])
def test_moments_agree_with_a_loop_over_examples_and_tokens(moments: MomentKind) -> None:
    found = score(IDS_BT, next_tokens(), moments).gradients
    assert found is not None
    expected_DD, rows = np.zeros((UNITS, UNITS)), 0
    for example in (0, 1):
        rows_RD = reference(example)[1].numpy()
        if moments == "example":
            rows_RD = rows_RD.mean(axis=0, keepdims=True)
        for row_D in rows_RD:
            expected_DD += np.outer(row_D, row_D) / len(rows_RD)
        rows += len(rows_RD)
    assert (found.count, found.rows) == (2, rows)  # the third example has no row
    np.testing.assert_allclose(found.sum_DD, expected_DD, rtol=1e-11, atol=1e-14)


def test_unshifted_labels_give_another_score() -> None:
    # The reference can fail: labels one position late change every unit by more than a percent.
    late_BT = torch.roll(next_tokens(), 1, dims=1)
    gap_D = score(IDS_BT, late_BT).score_BD[0] - reference(0)[0]
    assert (gap_D.abs() > 0.01 * reference(0)[0]).all()


def test_an_example_without_any_label_is_not_valid_and_counts_in_no_mean() -> None:
    importance = score(IDS_BT, next_tokens())
    assert importance.valid_B.tolist() == [True, True, False]
    assert not importance.score_BD[2].any()
    total = ImportanceSum.of(importance)
    assert total.count == 2
    expected_D = (reference(0)[0] + reference(1)[0]) / 2
    torch.testing.assert_close(torch.from_numpy(total.mean()), expected_D)


def test_what_the_padding_holds_and_how_much_of_it_there_is_changes_nothing() -> None:
    expected_BD = score(IDS_BT, next_tokens()).score_BD
    padded_BT = IDS_BT.clone()
    for example, length in enumerate(LENGTHS_B):
        padded_BT[example, length:] = 9
    assert torch.equal(score(padded_BT, next_tokens()).score_BD, expected_BD)
    more_BT = torch.cat([IDS_BT, torch.full((3, 2), 7)], dim=1)
    more_labels_BT = torch.cat([next_tokens(), torch.full((3, 2), -100)], dim=1)
    torch.testing.assert_close(score(more_BT, more_labels_BT).score_BD, expected_BD)


def test_all_examples_without_labels_give_zero() -> None:
    importance = score(IDS_BT, torch.full_like(IDS_BT, -100))
    assert not importance.valid_B.any()
    assert not importance.score_BD.any()
    with pytest.raises(ValueError, match="no example was counted"):
        ImportanceSum.of(importance).mean()
