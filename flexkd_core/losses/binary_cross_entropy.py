"""Binary cross-entropy with the labels of each row: the supervised loss of multi-label tasks.

Shapes: N rows (examples), C labels of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flexkd_core.losses._inputs import Reduction, reduce_rows


def binary_cross_entropy(
    logits_NC: Tensor,
    labels_NC: Tensor,
    *,
    class_weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of (1 / C) Σ_c −[w_c · y_c · log σ(z_c) + (1 − y_c) · log(1 − σ(z_c))].

    Args:
        logits_NC: z, any float dtype; computed in fp32 or wider.
        labels_NC: y in [0, 1], 1 for a label that the row has.
        class_weights: w (C,), of the positive part, as `pos_weight` of
            `torch.nn.BCEWithLogitsLoss`; ones for None.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        fp32 (or fp64) scalar ≥ 0, in nats per label, or (N,) for "none"; 0 with a gradient of 0
        without rows.

    Raises:
        ValueError: the shapes do not fit, labels are not floats in [0, 1], or the reduction is
            unknown.
    """
    if logits_NC.ndim != 2 or labels_NC.shape != logits_NC.shape:
        raise ValueError(
            f"logits {tuple(logits_NC.shape)} and labels {tuple(labels_NC.shape)} must both be "
            "(rows, labels): give 0 or 1 for every label of a row"
        )
    dtype = torch.promote_types(logits_NC.dtype, torch.float32)
    labels_NC = labels_NC.to(logits_NC.device, dtype)
    if not bool(((labels_NC >= 0) & (labels_NC <= 1)).all()):
        raise ValueError("labels must be between 0 and 1: 1 for a label that the row has")
    loss_NC = nn.functional.binary_cross_entropy_with_logits(
        logits_NC.to(dtype),
        labels_NC,
        pos_weight=None if class_weights is None else class_weights.to(logits_NC.device, dtype),
        reduction="none",
    )
    return reduce_rows(loss_NC.mean(dim=1), reduction)
