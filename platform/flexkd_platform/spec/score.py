"""How the teacher's hidden units are scored (Flex-KD, Eqs. 1–4)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .layer import Layer
from .section import Section, later_field

ScoredOutput = Literal[
    "predicted_logit", "label_logit", "label_logprob", "logit_jacobian", "loss", "value"
]

ImportanceKind = Literal[
    "gradient",
    "activation",
    "integrated_gradients",
    "gradient_activation",
    "contribution",
    "random",
]

Moment = Literal["token", "example"]


class Score(Section):
    """One pass over training examples that gives every unit of one teacher layer its score."""

    kind: ImportanceKind = Field(
        "gradient",
        description="what a unit's importance is: mean |g|, mean |h|, integrated gradients, mean "
        "|g·h|, or its share of the output's variance; random is the control",
    )
    output: ScoredOutput | None = Field(
        None,
        description="F, the output whose gradient is taken; when left out predicted_logit for "
        "classification, logit_jacobian for multilabel, value for regression, label_logprob for "
        "tasks that generate text",
    )
    layer: Layer = Field(
        "last",
        description="teacher layer that is scored and matched: last, the hidden state that the "
        "head reads, after the final norm; a number, a block's output (negative from the end); or "
        "of an encoder–decoder one stack's alone, as decoder.last",
    )
    samples: Literal["all"] | int = Field(
        "all", description="how many training examples are scored, drawn with `seed`"
    )
    aggregation: Literal["global", "batch"] = Field(
        "global",
        description="one selection from the mean over all scored examples, or a new one from the "
        "training batch every few steps",
    )
    every: int = Field(1, gt=0, description="steps between selections, for aggregation: batch")
    geometry: bool = Field(
        True,
        description="also the second moment of the gradients and the features' covariance, in the "
        "same pass",
    )
    moment: Moment = later_field(
        "token",
        description="gradients in the second moment: those of every token, or each example's mean, "
        "in which tokens cancel",
    )
    steps: int = Field(16, gt=0, description="steps of integrated gradients")
    seed: int = Field(0, ge=0, description="seed of random importance and of drawn samples")
    chunk: int = Field(
        64,
        gt=0,
        description="examples per partial sum; part of the identity, since fp64 sums depend on it",
    )
