"""What distillation methods share: L = α·L_feature + β·L_logit + λ·L_supervised."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..layer import LayerMap
from ..section import Section
from .logit import TEMPERATURE, TOP_K, ForwardKl, LogitLoss

Weight = Annotated[float, Field(ge=0)]

ALPHA = "α, weight of the feature loss"
BETA = "β, weight of the logit loss"
LAMBDA = "λ, weight of the supervised loss"


class OnPolicy(Section):
    """Responses are drawn during training instead of read from the data (GKD, MiniLLM)."""

    teacher_mix: float = Field(
        0.0, ge=0, le=1, description="share of the teacher in the distribution tokens are drawn of"
    )
    share: float = Field(1.0, gt=0, le=1, description="share of the steps on drawn responses")
    temperature: float = Field(1.0, gt=0, description="of the draw")
    max_new_tokens: int = Field(64, gt=0, description="tokens drawn at most")


class TeacherMethod(Section):
    """A method that listens to a teacher."""

    on_policy: OnPolicy | None = Field(
        None, description="train on responses drawn from the student; null: on those of the data"
    )

    def require_weight(self, **weights: float) -> None:
        """Raise ValueError unless some weight is more than 0."""
        if not any(weights.values()):
            names = ", ".join(name.rstrip("_") for name in weights)
            raise ValueError(f"every weight is 0; give one of {names} more than 0")


class LogitMethod(TeacherMethod):
    """Distillation of the outputs alone; a subclass names the loss in `logit_loss`."""

    beta: Weight = Field(1.0, description=BETA)
    lambda_: Weight = Field(0.0, alias="lambda", description=LAMBDA)
    temperature: float = Field(1.0, gt=0, description=TEMPERATURE)
    top_k: int | None = Field(None, gt=0, description=TOP_K)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        self.require_weight(beta=self.beta, lambda_=self.lambda_)
        return self

    @property
    def logit_loss(self) -> LogitLoss:
        """The logit term."""
        raise NotImplementedError


class FeatureMethod(TeacherMethod):
    """Distillation of hidden states, and of outputs where β is not 0; the paper's weights for
    classification by default.
    """

    alpha: Weight = Field(0.5, description=ALPHA)
    beta: Weight = Field(0.0, description=BETA)
    lambda_: Weight = Field(0.5, alias="lambda", description=LAMBDA)
    logit: LogitLoss = Field(default_factory=ForwardKl, description="the logit loss that β weighs")

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        self.require_weight(alpha=self.alpha, beta=self.beta, lambda_=self.lambda_)
        return self


class LayeredMethod(FeatureMethod):
    """A feature method of one pair of layers, or of several whose losses add up."""

    layers: Literal["last", "every"] | LayerMap = Field(
        "last",
        description="last: the student's last with score.layer; every: each of the student's with "
        "evenly spaced ones of the teacher; or a map {student layer: teacher layer}",
    )
