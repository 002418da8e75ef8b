"""Cross-entropy with reference tokens or classes: the supervised loss of generation and
classification.

Shapes: N tokens (all positions of a batch, flattened), V vocabulary entries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flexkd_core.losses._inputs import Reduction, reduce_rows
from flexkd_core.scoring.outputs import IGNORED_LABEL


def token_cross_entropy(
    logits_NV: Tensor,
    labels_N: Tensor,
    *,
    class_weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the labelled tokens of −log p(y_n), p = softmax(logits).

    With class weights w, Σ_n w(y_n) · (−log p(y_n)) / Σ_n w(y_n), as
    `torch.nn.CrossEntropyLoss(weight=w)`.

    Args:
        logits_NV: any float dtype; computed in fp32 or wider. Shift causal models' logits against
            the labels first.
        labels_N: integer; −100 (`IGNORED_LABEL`) for tokens without a target.
        class_weights: w (V,), not negative; ones for None.
        reduction: "mean" over the labelled tokens (not over N), their "sum", or "none", where a
            token without a target is 0. Sum and rows are weighted too.

    Returns:
        fp32 (or fp64) scalar ≥ 0, in nats per token, or (N,) for "none"; 0 with a gradient of 0
        if no token is labelled.

    Raises:
        ValueError: the shapes do not fit, labels are not integers or not in the vocabulary, or the
            reduction is unknown.
    """
    if (
        logits_NV.ndim != 2
        or labels_N.shape != logits_NV.shape[:1]
        or labels_N.is_floating_point()
        or labels_N.dtype == torch.bool
    ):
        raise ValueError(
            f"logits {tuple(logits_NV.shape)} and labels {labels_N.dtype} {tuple(labels_N.shape)} "
            "must be (tokens, vocabulary) and one integer per token: flatten the batch first"
        )
    labels_N = labels_N.to(logits_NV.device, torch.int64)
    labelled_N = labels_N != IGNORED_LABEL
    vocabulary = logits_NV.shape[1]
    wrong_N = labelled_N & ((labels_N < 0) | (labels_N >= vocabulary))
    if wrong_N.any():
        raise ValueError(
            f"label {int(labels_N[wrong_N][0])} is not one of the tokens 0 to {vocabulary - 1}: "
            f"use {IGNORED_LABEL} for tokens without a target"
        )
    dtype = torch.promote_types(logits_NV.dtype, torch.float32)
    weights_V = None if class_weights is None else class_weights.to(logits_NV.device, dtype)
    loss_N = nn.functional.cross_entropy(
        logits_NV.to(dtype),
        labels_N,
        weight=weights_V,
        ignore_index=IGNORED_LABEL,
        reduction="none",
    )
    if reduction == "mean":
        if weights_V is None:
            return loss_N.sum() / labelled_N.sum().clamp(min=1)
        total = weights_V[labels_N[labelled_N]].sum()
        return loss_N.sum() / torch.where(total == 0, 1.0, total)
    return reduce_rows(loss_N, reduction)
