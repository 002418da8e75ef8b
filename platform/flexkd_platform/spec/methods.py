"""The distillation methods and their settings: L = α·L_feature + β·L_logit + λ·L_supervised."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .section import Section

Weight = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(gt=0)]

ALPHA = "α, weight of the feature loss"
BETA = "β, weight of the logit loss"
LAMBDA = "λ, weight of the supervised loss"
TEMPERATURE = "τ of the logit loss, which is scaled by τ²"


def _require_weight(**weights: float) -> None:
    if not any(weights.values()):
        names = ", ".join(name.rstrip("_") for name in weights)
        raise ValueError(f"every weight is 0; give one of {names} more than 0")


class FineTuning(Section):
    """Supervised training without a teacher, λ = 1."""

    kind: Literal["ft"]


class LogitDistillation(Section):
    """Hinton et al. 2015: forward KL between the teacher's and the student's outputs."""

    kind: Literal["kd"]
    beta: Weight = Field(0.5, description=BETA)
    lambda_: Weight = Field(0.5, alias="lambda", description=LAMBDA)
    temperature: Temperature = Field(1.0, description=TEMPERATURE)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        _require_weight(beta=self.beta, lambda_=self.lambda_)
        return self


class FeatureMethod(Section):
    """Weights that every feature method has; the paper's for classification by default."""

    alpha: Weight = Field(0.5, description=ALPHA)
    beta: Weight = Field(0.0, description=BETA)
    lambda_: Weight = Field(0.5, alias="lambda", description=LAMBDA)
    temperature: Temperature = Field(1.0, description=TEMPERATURE)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        _require_weight(alpha=self.alpha, beta=self.beta, lambda_=self.lambda_)
        return self


class ProjectorDistillation(FeatureMethod):
    """A learned linear map from the student's features to the teacher's (Jiao et al. 2020)."""

    kind: Literal["projector"]
    loss: Literal["mse", "correlation"] = Field("mse", description="how the two are compared")


class CkaDistillation(FeatureMethod):
    """1 − linear CKA of the two feature matrices (Dasgupta & Cohn 2025)."""

    kind: Literal["cka"]
    form: Literal["sqrt", "kornblith"] = Field("sqrt", description="which of the two CKA formulas")


class FlexKd(FeatureMethod):
    """The teacher's d_S most task-relevant units, matched unit by unit (Saadi & Wang 2025)."""

    kind: Literal["flexkd"]
    loss: Literal["correlation", "mse", "cosine"] = Field(
        "correlation", description="how paired units are compared"
    )
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="of the correlation loss over the units; Eq. 5 is the sum"
    )
    pairing: Literal["rank", "index"] = Field(
        "rank", description="order in which selected units meet the student's"
    )


Method = Annotated[
    FineTuning | LogitDistillation | ProjectorDistillation | CkaDistillation | FlexKd,
    Field(discriminator="kind"),
]

MethodName = Literal["ft", "kd", "projector", "cka", "flexkd"]

METHODS: dict[MethodName, type[Section]] = {
    "ft": FineTuning,
    "kd": LogitDistillation,
    "projector": ProjectorDistillation,
    "cka": CkaDistillation,
    "flexkd": FlexKd,
}
"""Every method by the name a spec gives it, in the order a table shows them."""
