"""What distillation methods share: L = α·L_feature + β·L_logit + λ·L_supervised."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..layer import LayerMap
from ..section import later_field
from ..task import TASK_KINDS, InstructionTask, ResponseTask, regresses
from .logit import TEMPERATURE, TOP_K, ForwardKl, LogitLoss, LogitTerm
from .method import LossSettings, MethodSettings, OnPolicy, Weights

Weight = Annotated[float, Field(ge=0)]

FEATURE_SETTINGS = frozenset(
    {
        "loss",
        "form",
        "reduction",
        "pairing",
        "target",
        "select",
        "weights",
        "rematch",
        "normalise",
    }
)
"""Settings of the feature losses."""

ALPHA = "α, weight of the feature loss"
BETA = "β, weight of the logit loss"
LAMBDA = "λ, weight of the supervised loss"
ALPHA_BY_TASK = f"{ALPHA}; left out: 0.5 for classification and regression, 1 for text tasks"
BETA_BY_TASK = f"{BETA}; left out: 0 for classification and regression, 1 for text tasks"
LAMBDA_BY_TASK = (
    f"{LAMBDA}; left out: 0.5 for classification and regression, 1 for summarization, 0 for "
    "instruction"
)


class TeacherMethod(MethodSettings):
    """A method with a teacher signal."""

    on_policy: OnPolicy | None = Field(
        None, description="train on responses drawn from the student; null: on those of the data"
    )

    @property
    def draws(self) -> OnPolicy | None:
        """How responses are drawn during training."""
        return self.on_policy

    def unread(self, task: str) -> frozenset[str]:
        """Also the settings of a logit loss with weight 0, or for regression, where every logit
        loss is the squared difference.
        """
        if self.uses_outputs and not regresses(task):
            return super().unread(task)
        return super().unread(task) | {
            "temperature",
            "top_k",
            "logit",
            "skew",
            "mixture",
            "scaled",
        }

    def require_weight(self, **weights: float) -> None:
        """Raise ValueError unless a weight is greater than 0."""
        if not any(weights.values()):
            names = ", ".join(name.rstrip("_") for name in weights)
            raise ValueError(f"every weight is 0; give one of {names} more than 0")


class LogitMethod(TeacherMethod):
    """Distillation of the outputs alone; a subclass names the loss in `logit_term`."""

    main: ClassVar[str] = "beta"
    beta: Weight = Field(1.0, description=BETA)
    lambda_: Weight = Field(0.0, alias="lambda", description=LAMBDA)
    temperature: float = Field(1.0, gt=0, description=TEMPERATURE)
    top_k: int | None = Field(None, gt=0, description=TOP_K)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        self.require_weight(beta=self.beta, lambda_=self.lambda_)
        return self

    @property
    def weights(self) -> Weights:
        """β and λ."""
        return Weights(logit=self.beta, supervised=self.lambda_)


class FeatureMethod(TeacherMethod):
    """Distillation of hidden states, and of outputs where β is not 0. By default with the paper's
    weights for the task; the defaults of the fields are those for classification.

    text_alpha: the default of α for tasks that generate text.
    """

    main: ClassVar[str] = "alpha"
    text_alpha: ClassVar[float] = 1.0
    alpha: Weight = Field(0.5, description=ALPHA_BY_TASK)
    beta: Weight = Field(0.0, description=BETA_BY_TASK)
    lambda_: Weight = Field(0.5, alias="lambda", description=LAMBDA_BY_TASK)
    logit: LogitLoss = Field(default_factory=ForwardKl, description="the logit loss that β weighs")
    normalise: Literal["none", "gradient"] = later_field(
        "none",
        description="gradient: the feature loss is multiplied by a constant, so that before the "
        "first step its gradient on the student's hidden state has the norm of the supervised "
        "loss's; one α then means the same on every task, method and width",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        self.require_weight(alpha=self.alpha, beta=self.beta, lambda_=self.lambda_)
        return self

    @classmethod
    def task_defaults(cls, task: str) -> dict[str, Any]:
        """The paper's weights for a task that generates text (Appendices B.2 and B.3)."""
        kind = TASK_KINDS[task]
        if not issubclass(kind, ResponseTask):
            return {}
        supervised = 0.0 if issubclass(kind, InstructionTask) else 1.0
        return {"alpha": cls.text_alpha, "beta": 1.0, "lambda": supervised}

    @property
    def weights(self) -> Weights:
        """α, β and λ."""
        return Weights(self.alpha, self.beta, self.lambda_)

    @property
    def normalises(self) -> bool:
        """Whether the feature loss is scaled by the norm of its first gradient."""
        return self.normalise == "gradient" and self.uses_features

    @property
    def logit_term(self) -> LogitTerm:
        """The logit loss that β weighs."""
        return self.logit

    @property
    def logit_path(self) -> tuple[str, str]:
        """Paths within the section `logit`."""
        return "logit.kind", "logit.top_k"

    @property
    def feature_loss(self) -> LossSettings:
        """The loss with the method's name, unless a subclass overrides it."""
        return LossSettings(self.to_json()["kind"])

    def unread(self, task: str) -> frozenset[str]:
        """Also the settings of a feature loss with weight 0."""
        if self.uses_features:
            return super().unread(task)
        return super().unread(task) | FEATURE_SETTINGS


class LayeredMethod(FeatureMethod):
    """A feature method over one or more pairs of layers, whose losses are summed."""

    layers: Literal["last", "every"] | LayerMap = Field(
        "last",
        description="last: the student's last with score.layer; every: each of the student's with "
        "evenly spaced ones of the teacher, and last with last; or a map "
        "{student layer: teacher layer}",
    )

    @property
    def layer_map(self) -> Literal["last", "every"] | LayerMap:
        """Which layers of the two models are compared."""
        return self.layers
