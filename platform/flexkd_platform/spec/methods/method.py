"""The interface of all methods, and the records that it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..layer import LayerMap
from ..section import Section, flatten
from .logit import LogitTerm


@dataclass(frozen=True)
class Weights:
    """α, β and λ of L = α·L_feature + β·L_logit + λ·L_supervised."""

    feature: float = 0.0
    logit: float = 0.0
    supervised: float = 0.0


@dataclass(frozen=True)
class LossSettings:
    """A loss by its name in a table of `flexkd_core`, with the arguments of its call."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


BETWEEN_ROWS = frozenset({"correlation", "cka", "procrustes", "gram"})
"""Feature losses with statistics of the batch. On one row they are constant; on two, centred rows
are opposite whatever the features are."""

FEWEST_ROWS = 3
"""Rows of a batch below which a loss of `BETWEEN_ROWS` has no gradient worth following."""

Target = Literal["units", "directions", "contribution_directions"]

UnitOrder = Literal["highest", "lowest", "diverse", "random", "origin"]

Pairing = Literal["rank", "index", "matched", "origin"]

TermWeights = Literal["uniform", "importance", "spectrum"]


@dataclass(frozen=True)
class UnitSelection:
    """What is matched in a teacher layer: selected units, or directions.

    order: which units are selected.
    pairing: how selected units are paired with the student's.
    rematch: optimiser steps between matchings; None: one, before the training.
    weights: of the terms of the loss, one for each unit or direction.
    """

    target: Target
    pairing: Pairing
    order: UnitOrder = "highest"
    rematch: int | None = None
    weights: TermWeights = "uniform"

    @property
    def directions(self) -> bool:
        """Whether directions are matched."""
        return self.target != "units"

    @property
    def pairs_by_sample(self) -> bool:
        """Whether the pairing is computed from features on a sample of the data."""
        return self.pairing in {"matched", "origin"}


@dataclass(frozen=True)
class TeacherResponses:
    """Responses of the teacher that a student is trained on. seed: of the draw, for `sample`."""

    decoding: Literal["greedy", "beam", "sample"]
    seed: int


class OnPolicy(Section):
    """Responses are drawn during training instead of read from the data (GKD, MiniLLM)."""

    teacher_mix: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the teacher in the distribution that tokens are drawn from",
    )
    share: float = Field(1.0, gt=0, le=1, description="share of the steps on drawn responses")
    temperature: float = Field(1.0, gt=0, description="of the draw")
    max_new_tokens: int = Field(64, gt=0, description="tokens drawn at most")


class MethodSettings(Section):
    """One method with its settings. A subclass has a field `kind`, its name, and overrides what
    differs from plain supervised training.

    main: the setting that is shown with every result.
    version: set by methods of other packages; part of the steps' hashes.
    """

    main: ClassVar[str] = ""
    version: ClassVar[int | None] = None

    @classmethod
    def task_defaults(cls, task: str) -> dict[str, Any]:
        """Settings that have another default on this task than their field has."""
        return {}

    @property
    def weights(self) -> Weights:
        """α, β and λ."""
        return Weights(supervised=1.0)

    @property
    def uses_features(self) -> bool:
        """Whether a term of the loss reads the teacher's hidden states."""
        return self.weights.feature > 0

    @property
    def normalises(self) -> bool:
        """Whether the feature loss is scaled by the norm of its first gradient."""
        return False

    @property
    def uses_outputs(self) -> bool:
        """Whether a term of the loss reads the teacher's outputs."""
        return self.weights.logit > 0

    @property
    def logit_term(self) -> LogitTerm | None:
        """The logit loss that β weighs."""
        return None

    @property
    def logit_path(self) -> tuple[str, str]:
        """Paths of the logit loss and of its `top_k` in a method's settings."""
        return "kind", "top_k"

    @property
    def feature_loss(self) -> LossSettings | None:
        """The feature loss that α weighs, a name in `flexkd_core.FEATURE_LOSSES`."""
        return None

    @property
    def correlation(self) -> Literal["sum", "mean"] | None:
        """How a correlation loss between units is reduced; None for any other feature loss."""
        return None

    @property
    def compares_rows(self) -> bool:
        """Whether the feature loss compares the rows of a batch with each other."""
        return self.feature_loss is not None and self.feature_loss.name in BETWEEN_ROWS

    @property
    def layer_map(self) -> Literal["last", "every"] | LayerMap:
        """Which layers of the two models are compared."""
        return "last"

    @property
    def projects(self) -> bool:
        """Whether the student's features pass through a learned projector, one per layer."""
        return False

    @property
    def selection(self) -> UnitSelection | None:
        """What is matched in a teacher layer; None for a method that compares whole layers."""
        return None

    @property
    def draws(self) -> OnPolicy | None:
        """How responses are drawn during training."""
        return None

    @property
    def responses(self) -> TeacherResponses | None:
        """The teacher's responses that replace those of the data."""
        return None

    @property
    def settled(self) -> dict[str, Any]:
        """Settings as they are in force, where a null of the spec stands for another value."""
        return {}

    def unread(self, task: str) -> frozenset[str]:
        """The settings without effect: those of a loss with weight 0, or of another loss.

        `layers` is one of them: `last`, -1 and 5 may be the same layer, and the step identifies
        layers by its own pairs.
        """
        return frozenset({"layers"})

    def identity(self, task: str) -> dict[str, Any]:
        """The settings that affect training on a task, as JSON."""
        unread = self.unread(task)
        identity = {name: value for name, value in self.to_json().items() if name not in unread}
        if "logit" in identity and self.logit_term is not None:
            identity["logit"] = self.logit_term.read_settings()
        identity |= self.settled
        if self.version is not None:
            identity["version"] = self.version
        if (
            self.uses_outputs
            and self.logit_term is not None
            and self.logit_term.version is not None
        ):
            identity["logit_version"] = self.logit_term.version
        return identity

    def params(self) -> dict[str, Any]:
        """The labels of a result: the main setting, and all settings that are not the default."""
        values = {k: v for k, v in self.to_json().items() if v is not None}
        defaults = type(self).model_validate({"kind": values["kind"]}).to_json()
        if isinstance(layers := values.get("layers"), dict):
            values["layers"] = " ".join(f"{ours}→{theirs}" for ours, theirs in layers.items())
        always = {self.main}
        if self.draws is not None:
            defaults["on_policy"] = OnPolicy().to_json()
            always.add("on_policy.share")
        usual = flatten(defaults)
        return {
            "logit" if name == "logit.kind" else name: value
            for name, value in flatten(values).items()
            if name != "kind" and (name in always or name not in usual or value != usual[name])
        }
