"""The output F whose gradient scores a unit, selected by name.

For a linear head on h the sum of all logits has the same gradient for every input, and for two
classes nearly none: the choice of F matters, and is part of the artifact.

Shapes: B examples, T positions, C classes, K outputs F per example (1, or C for the Jacobian).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import torch
from torch import Tensor, nn

IGNORED_LABEL = -100
"""A token without a target, as in `torch.nn.functional.cross_entropy`."""


class Output(Protocol):
    """Computes F from logits (B, C), on their graph; returns it as (K, B)."""

    def __call__(self, logits_BC: Tensor, labels_B: Tensor | None) -> Tensor:
        """Raises ValueError, with the output to use instead, if logits or labels do not fit."""
        ...


def predicted_logit(logits_BC: Tensor, labels_B: Tensor | None = None) -> Tensor:
    """The logit of the class the model predicts; labels are not used."""
    _require_classes(logits_BC, "predicted_logit")
    return logits_BC.gather(1, logits_BC.argmax(dim=1, keepdim=True)).T


def label_logit(logits_BC: Tensor, labels_B: Tensor | None) -> Tensor:
    """The logit of the labelled class."""
    _require_classes(logits_BC, "label_logit")
    labels_B = _class_labels(logits_BC, labels_B, "label_logit")
    return logits_BC.gather(1, labels_B[:, None]).T


def label_logprob(logits_BC: Tensor, labels_B: Tensor | None) -> Tensor:
    """The log-probability of the label, in nats.

    Also accepts token logits: for (B, T, C) with labels (B, T) it is the log-probability of the
    reference tokens, Σ_t log p(y_t), over the labels that are not −100. Logits and labels must be
    aligned: shift those of causal models first.
    """
    if logits_BC.ndim == 2:
        _require_classes(logits_BC, "label_logprob")
    elif logits_BC.ndim != 3:
        raise ValueError(
            f"logits {tuple(logits_BC.shape)} must be (examples, classes) or "
            "(examples, positions, vocabulary) for 'label_logprob'"
        )
    labels_B = _class_labels(logits_BC, labels_B, "label_logprob")
    return -_cross_entropy(logits_BC, labels_B).reshape(len(logits_BC), -1).sum(dim=1)[None]


def logit_jacobian(logits_BC: Tensor, labels_B: Tensor | None = None) -> Tensor:
    """All C logits; the score is the mean over them of |∂F_c/∂h|. Labels are not used."""
    _require_classes(logits_BC, "logit_jacobian")
    return logits_BC.T


def loss(logits_BC: Tensor, labels_B: Tensor | None) -> Tensor:
    """The supervised loss per example: cross-entropy, or squared error for a single output.

    For labels (B, C), each 0 or 1, the mean over a row of the binary cross-entropies.
    """
    if labels_B is not None and labels_B.ndim == 2 and labels_B.shape == logits_BC.shape:
        dtype = torch.promote_types(logits_BC.dtype, torch.float32)
        loss_BC = nn.functional.binary_cross_entropy_with_logits(
            logits_BC.to(dtype), labels_B.to(logits_BC.device, dtype), reduction="none"
        )
        return loss_BC.mean(dim=1)[None]
    if logits_BC.ndim == 2 and logits_BC.shape[1] == 1:
        if labels_B is None or labels_B.shape != logits_BC.shape[:1]:
            raise ValueError(_label_message(logits_BC, labels_B, "loss", "one number per example"))
        dtype = torch.promote_types(logits_BC.dtype, torch.float32)
        labels_B = labels_B.to(logits_BC.device, dtype)
        return (logits_BC[:, 0].to(dtype) - labels_B).square()[None]
    _require_classes(logits_BC, "loss")
    return _cross_entropy(logits_BC, _class_labels(logits_BC, labels_B, "loss"))[None]


def value(logits_BC: Tensor, labels_B: Tensor | None = None) -> Tensor:
    """The single output of a regression model; labels are not used."""
    if logits_BC.ndim != 2 or logits_BC.shape[1] != 1:
        raise ValueError(
            f"output 'value' needs one output per example, but the logits are "
            f"{tuple(logits_BC.shape)}: use 'predicted_logit' for classes"
        )
    return logits_BC.T


OUTPUTS: Final[Mapping[str, Output]] = MappingProxyType(
    {
        "predicted_logit": predicted_logit,
        "label_logit": label_logit,
        "label_logprob": label_logprob,
        "logit_jacobian": logit_jacobian,
        "loss": loss,
        "value": value,
    }
)
"""Classification: all but `value`; several labels a row: `logit_jacobian`, `predicted_logit` (the
likeliest label) or `loss`; regression: `value` or `loss`; tokens: `label_logprob`."""


def _require_classes(logits_BC: Tensor, output: str) -> None:
    if logits_BC.ndim == 3:
        raise ValueError(
            f"output {output!r} needs logits (examples, classes), not token logits "
            f"{tuple(logits_BC.shape)}: use 'label_logprob' for generation"
        )
    if logits_BC.ndim != 2 or logits_BC.shape[1] < 2:
        raise ValueError(
            f"output {output!r} needs at least two classes, but the logits are "
            f"{tuple(logits_BC.shape)}: use 'value' for a single regression output"
        )


def _class_labels(logits_BC: Tensor, labels_B: Tensor | None, output: str) -> Tensor:
    """The labels, on the logits' device, checked to be classes (or ignored tokens)."""
    if (
        labels_B is None
        or labels_B.shape != logits_BC.shape[:-1]
        or labels_B.is_floating_point()
        or labels_B.dtype == torch.bool
    ):
        raise ValueError(_label_message(logits_BC, labels_B, output, "one class each"))
    labels_B = labels_B.to(logits_BC.device, torch.int64)
    classes = logits_BC.shape[-1]
    known = (labels_B >= 0) & (labels_B < classes)
    if logits_BC.ndim == 3:
        known |= labels_B == IGNORED_LABEL
    if not known.all():
        raise ValueError(
            f"label {int(labels_B[~known][0])} is not one of the classes 0 to {classes - 1} "
            f"that output {output!r} chooses from"
        )
    return labels_B


def _label_message(logits_BC: Tensor, labels_B: Tensor | None, output: str, needed: str) -> str:
    found = "no labels" if labels_B is None else f"{labels_B.dtype} {tuple(labels_B.shape)}"
    return (
        f"output {output!r} needs labels {tuple(logits_BC.shape[:-1])}, {needed}, but got {found}: "
        "pass labels_B, or use an output that needs none ('predicted_logit', 'value')"
    )


def _cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """−log p per label, fp32 or wider, 0 where ignored; classes are the last dimension."""
    logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
    return nn.functional.cross_entropy(
        logits_BC.movedim(-1, 1), labels_B, ignore_index=IGNORED_LABEL, reduction="none"
    )
