"""The losses, as plain functions of two matrices of rows; every one returns a scalar to minimise.

Callers mask padding and gather rows over workers first. To add a loss, add a file here and a line
in its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from torch import Tensor

from flexkd_core.losses._inputs import Reduction
from flexkd_core.losses.binary_cross_entropy import binary_cross_entropy
from flexkd_core.losses.chunked import ChunkedLoss, RowLoss, RowTerm, chunked_rows_loss
from flexkd_core.losses.cka import cka_loss, linear_cka
from flexkd_core.losses.correlation import correlation_loss, unit_correlation
from flexkd_core.losses.distance import cosine_loss, mse_loss
from flexkd_core.losses.forward_kl import forward_kl
from flexkd_core.losses.gram import gram_loss
from flexkd_core.losses.jsd import jsd
from flexkd_core.losses.logit_map import LogitMap
from flexkd_core.losses.logit_mse import logit_mse
from flexkd_core.losses.per_label import per_label
from flexkd_core.losses.procrustes import procrustes_loss
from flexkd_core.losses.projector import Projector
from flexkd_core.losses.reverse_kl import reverse_kl
from flexkd_core.losses.skew_forward_kl import skew_forward_kl
from flexkd_core.losses.skew_reverse_kl import skew_reverse_kl
from flexkd_core.losses.squared_error import squared_error
from flexkd_core.losses.token_cross_entropy import token_cross_entropy
from flexkd_core.losses.top_k import top_k_logits
from flexkd_core.losses.tvd import tvd
from flexkd_core.losses.uld import uld
from flexkd_core.losses.vocabulary import same_vocabulary

__all__ = [
    "FEATURE_LOSSES",
    "LOGIT_LOSSES",
    "CLASS_LOSSES",
    "register_feature_loss",
    "register_class_loss",
    "Loss",
    "LogitLoss",
    "ClassLoss",
    "Reduction",
    # between paired units
    "correlation_loss",
    "unit_correlation",
    "mse_loss",
    "cosine_loss",
    # between features of different widths
    "cka_loss",
    "linear_cka",
    "procrustes_loss",
    "gram_loss",
    "Projector",
    # between class logits
    "forward_kl",
    "reverse_kl",
    "jsd",
    "skew_forward_kl",
    "skew_reverse_kl",
    "tvd",
    "logit_mse",
    # between class logits of different vocabularies
    "uld",
    # between class logits, each a label by itself
    "per_label",
    # between single outputs
    "squared_error",
    # with reference tokens, classes or labels
    "token_cross_entropy",
    "binary_cross_entropy",
    # large vocabularies: of different padding, of the teacher's top classes, in chunks of rows
    "same_vocabulary",
    "top_k_logits",
    "chunked_rows_loss",
    "ChunkedLoss",
    "RowTerm",
    "RowLoss",
    "LogitMap",
]


class Loss(Protocol):
    """The interface of all losses in the tables: student and teacher rows in, a scalar out."""

    def __call__(self, student: Tensor, teacher: Tensor, /) -> Tensor:
        """The loss at its default settings; each function documents its keyword settings."""
        ...


class LogitLoss(Loss, Protocol):
    """A loss with one value per row: returns their mean, their sum, or all of them."""

    def __call__(
        self, student: Tensor, teacher: Tensor, /, *, reduction: Reduction = "mean"
    ) -> Tensor:
        """A scalar, or (N,) for reduction "none"."""
        ...


class ClassLoss(LogitLoss, Protocol):
    """A logit loss between classes, which a temperature softens."""

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        /,
        *,
        temperature: float = 1.0,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """A scalar, or (N,) for reduction "none"."""
        ...


_feature_losses: dict[str, Loss] = {
    "correlation": correlation_loss,
    "cka": cka_loss,
    "mse": mse_loss,
    "cosine": cosine_loss,
    "procrustes": procrustes_loss,
    "gram": gram_loss,
}
FEATURE_LOSSES: Final[Mapping[str, Loss]] = MappingProxyType(_feature_losses)
"""Losses between hidden features (N, S) and (N, T); all but cka, procrustes and gram need S = T."""

_class_losses: dict[str, ClassLoss] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jsd": jsd,
    "skew_forward_kl": skew_forward_kl,
    "skew_reverse_kl": skew_reverse_kl,
    "tvd": tvd,
    "logit_mse": logit_mse,
    "uld": uld,
}
CLASS_LOSSES: Final[Mapping[str, ClassLoss]] = MappingProxyType(_class_losses)
"""The logit losses between classes or vocabulary entries; all accept a temperature.

All but uld need one vocabulary.
"""

_logit_losses: dict[str, LogitLoss] = {**_class_losses, "squared_error": squared_error}
LOGIT_LOSSES: Final[Mapping[str, LogitLoss]] = MappingProxyType(_logit_losses)
"""Losses between model outputs: those between classes, and `squared_error` for one output."""


def register_feature_loss(name: str, loss: Loss) -> None:
    """Register another package's loss between hidden features.

    Raises:
        ValueError: another loss has this name.
    """
    if _feature_losses.setdefault(name, loss) is not loss:
        raise ValueError(f"the feature loss {name!r} is already registered; use another name")


def register_class_loss(name: str, loss: ClassLoss) -> None:
    """Register another package's loss between classes; it must accept a temperature.

    Raises:
        ValueError: another loss has this name.
    """
    if _logit_losses.get(name, loss) is not loss:
        raise ValueError(f"the logit loss {name!r} is already registered; use another name")
    _class_losses[name] = _logit_losses[name] = loss
