"""Each method's loss: L = α·L_feature + β·L_logit + λ·L_supervised (Eqs. 7 and 8).

Shapes: N rows of the global batch, S student units, T teacher units, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from flexkd_core import cka_loss, correlation_loss, cosine_loss, mse_loss

from ..spec import (
    CkaDistillation,
    FeatureMethod,
    FineTuning,
    FlexKd,
    LogitDistillation,
    Method,
    ProjectorDistillation,
)
from ..tasks import Head
from .targets import Targets

FeatureLoss = Callable[[Tensor, Tensor], Tensor]


def parse_method(identity: Mapping[str, Any]) -> Method:
    """The method that a step's identity names."""
    method: Method = TypeAdapter(Method).validate_python(dict(identity))
    return method


@dataclass(frozen=True)
class DistillationObjective:
    """The terms of one method on a global batch.

    units: the selected teacher units in the student's order; all of the teacher's when None.
    targets: the teacher; None for a method that has none.
    """

    method: Method
    head: Head
    labels: Tensor
    targets: Targets | None
    units: Tensor | None

    def __call__(
        self, rows: Sequence[int], features_ND: Tensor, logits_NC: Tensor
    ) -> dict[str, Tensor]:
        """`loss` and the unweighted terms it is made of; a term without weight is left out."""
        labels_N = self.labels[torch.tensor(rows)].to(logits_NC.device)
        weights = loss_weights(self.method)
        terms: dict[str, Tensor] = {}
        if weights["supervised"]:
            terms["supervised"] = self.head.supervised(logits_NC, labels_N)
        if self.targets is not None and (weights["logit"] or weights["feature"]):
            hidden_NT, teacher_NC = self.targets(rows)
            if weights["logit"]:
                temperature = temperature_of(self.method)
                terms["logit"] = self.head.logit(logits_NC, teacher_NC, temperature)
            if weights["feature"]:
                matched_NT = hidden_NT if self.units is None else hidden_NT[:, self.units]
                terms["feature"] = feature_loss(self.method)(features_ND, matched_NT)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": loss, **terms}


def loss_weights(method: Method) -> dict[str, float]:
    """λ, β and α by the term they weigh."""
    if isinstance(method, FineTuning):
        return {"supervised": 1.0, "logit": 0.0, "feature": 0.0}
    alpha = method.alpha if isinstance(method, FeatureMethod) else 0.0
    return {"supervised": method.lambda_, "logit": method.beta, "feature": alpha}


def feature_loss(method: Method) -> FeatureLoss:
    """The feature term of a method, with its settings bound.

    Raises:
        ValueError: the method has none.
    """
    if isinstance(method, ProjectorDistillation):
        return mse_loss if method.loss == "mse" else correlation_loss
    if isinstance(method, CkaDistillation):
        form = method.form
        return lambda student_NS, teacher_NT: cka_loss(student_NS, teacher_NT, form=form)
    if isinstance(method, FlexKd):
        if method.loss == "correlation":
            reduction = method.reduction
            return lambda student_NS, teacher_NS: correlation_loss(
                student_NS, teacher_NS, reduction=reduction
            )
        return mse_loss if method.loss == "mse" else cosine_loss
    raise ValueError(f"{method.kind} has no feature loss")


def temperature_of(method: Method) -> float:
    """τ of the logit loss; 1 for a method without one."""
    if isinstance(method, LogitDistillation | FeatureMethod):
        return method.temperature
    return 1.0


def paired_units(method: FlexKd, ranked: Sequence[int]) -> Tensor:
    """The selected units in the order in which they meet the student's."""
    return torch.tensor(sorted(ranked) if method.pairing == "index" else list(ranked))
