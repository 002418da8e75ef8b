"""A trial: one method with one value of every axis that touches it, and one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..spec import FeatureMethod, FlexKd, LogitMethod, Method, OnPolicy, SeqKd, TeacherMethod
from .step import Step

if TYPE_CHECKING:
    from .kinds.distill import DistillConfig
    from .kinds.evaluate import EvaluateConfig

Json = Any


@dataclass(frozen=True)
class Trial:
    """What is trained and measured once.

    params: what a reader tells it by: the method's main weight, its settings that are not the
        default, and the axes that touch it.
    settings: everything that decides its result but the seed, dotted path → value.
    """

    method: str
    params: Mapping[str, Json]
    settings: Mapping[str, Json]
    seed: int
    distill: Step[DistillConfig]
    evaluate: Step[EvaluateConfig]

    @property
    def hash(self) -> str:
        """The hash of the training; more metrics later do not make it another trial."""
        return self.distill.hash


def uses_features(method: Method) -> bool:
    """Whether a term of the loss reads the teacher's hidden states."""
    return isinstance(method, FeatureMethod) and method.alpha > 0


def uses_outputs(method: Method) -> bool:
    """Whether a term of the loss reads the teacher's outputs."""
    return isinstance(method, LogitMethod | FeatureMethod) and method.beta > 0


def method_params(method: Method) -> dict[str, Json]:
    """The main weight, and every setting that is not the default."""
    main = "beta" if isinstance(method, LogitMethod) else "alpha"
    values = {k: v for k, v in method.to_json().items() if v is not None}
    defaults = type(method).model_validate({"kind": method.kind}).to_json()
    if isinstance(layers := values.get("layers"), dict):
        values["layers"] = " ".join(f"{ours}→{theirs}" for ours, theirs in layers.items())
    always = {main}
    if isinstance(method, TeacherMethod) and method.on_policy is not None:
        defaults["on_policy"] = OnPolicy().to_json()
        always.add("on_policy.share")
    usual = flatten(defaults)
    return {
        "logit" if name == "logit.kind" else name: value
        for name, value in flatten(values).items()
        if name != "kind" and (name in always or name not in usual or value != usual[name])
    }


def method_identity(method: Method, task: str) -> dict[str, Json]:
    """The settings that the loss reads: one without weight, or of another loss, decides nothing."""
    values = method.to_json()
    unread = {"layers"}  # `last`, -1 and 5 may be one layer; the pairs that they come to say which
    # Between two numbers the logit loss is their squared difference, whatever its name.
    if isinstance(method, TeacherMethod) and (not uses_outputs(method) or task == "regression"):
        unread |= {"temperature", "top_k", "logit", "skew", "mixture"}
    if isinstance(method, FeatureMethod) and not method.alpha:
        unread |= {"loss", "form", "reduction", "pairing", "target"}
    if isinstance(method, FlexKd) and method.loss != "correlation":
        unread |= {"reduction"}
    if isinstance(method, FlexKd) and method.target == "directions":
        unread |= {"pairing"}
    if isinstance(method, SeqKd) and method.decoding != "sample":
        unread |= {"seed"}
    return {name: value for name, value in values.items() if name not in unread}


def flatten(value: Json, prefix: str = "") -> dict[str, Json]:
    """Nested mappings as dotted paths; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Json] = {}
    for key, inner in value.items():
        flat.update(flatten(inner, f"{prefix}.{key}" if prefix else key))
    return flat
