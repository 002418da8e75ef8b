"""The logit losses of a spec; `kind` is the loss's name in `flexkd_core`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from ..section import Section, later_field

TEMPERATURE = "τ; the loss is scaled by τ²"
TVD_TEMPERATURE = "τ; the loss is scaled by τ, since a distance shrinks with the logits' difference"
SCALED = (
    "divide the divergence by β(1 − β), which makes it continuous with both KLs; left out: true "
    "where the mixture is swept (a list of several values, or a distribution), else false"
)
TOP_K = "compare the teacher's likeliest classes, and the rest as one"


class LogitTerm(Section):
    """Settings that all losses between probabilities have.

    between_numbers: whether regression may use it, where it is the squared difference.
    any_vocabulary: whether both sides may have different vocabularies.
    by_label: how a multi-label task uses it: between the two classes that each label is, between
        the labels' logits, or not at all.
    version: set by losses of other packages; part of the steps' hashes.
    """

    between_numbers: ClassVar[bool] = False
    any_vocabulary: ClassVar[bool] = False
    by_label: ClassVar[Literal["classes", "logits", "none"]] = "classes"
    version: ClassVar[int | None] = None
    temperature: float = Field(1.0, gt=0, description=TEMPERATURE)
    top_k: int | None = Field(None, gt=0, description=TOP_K)

    @property
    def name(self) -> str:
        """The loss's name in a spec and in `flexkd_core.LOGIT_LOSSES`."""
        return str(self.model_dump()["kind"])

    @property
    def scale(self) -> float:
        """The factor of a loss between tempered logits, so that τ changes only its shape."""
        return self.temperature**2

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the loss of this name in `flexkd_core.LOGIT_LOSSES`."""
        fields = self.model_dump()
        return {name: value for name, value in fields.items() if name not in {"kind", "top_k"}}

    def read_settings(self) -> dict[str, Any]:
        """The settings that affect training, as JSON."""
        return self.to_json()


class ForwardKl(LogitTerm):
    """Σ p_T (log p_T − log p_S)."""

    between_numbers: ClassVar[bool] = True
    kind: Literal["forward_kl"] = "forward_kl"


class ReverseKl(LogitTerm):
    """Σ p_S (log p_S − log p_T)."""

    kind: Literal["reverse_kl"] = "reverse_kl"


class Jsd(LogitTerm):
    """Generalised Jensen–Shannon divergence."""

    kind: Literal["jsd"] = "jsd"
    beta: float = Field(
        0.5, ge=0, le=1, description="place between the forward KL at 0 and the reverse KL at 1"
    )
    scaled: bool | None = later_field(None, description=SCALED)

    def read_settings(self) -> dict[str, Any]:
        """Without `scaled` where it changes nothing: not set, or at an end of the mixture."""
        settings = self.to_json()
        if not (self.scaled and 0 < self.beta < 1):
            settings.pop("scaled", None)
        return settings


class SkewForwardKl(LogitTerm):
    """Forward KL to a mixture of both sides."""

    kind: Literal["skew_forward_kl"] = "skew_forward_kl"
    skew: float = Field(0.1, ge=0, lt=1, description="share of the teacher in the mixture")


class SkewReverseKl(LogitTerm):
    """Reverse KL to a mixture of both sides."""

    kind: Literal["skew_reverse_kl"] = "skew_reverse_kl"
    skew: float = Field(0.1, ge=0, lt=1, description="share of the student in the mixture")


class Tvd(LogitTerm):
    """Total variation distance."""

    kind: Literal["tvd"] = "tvd"
    temperature: float = Field(1.0, gt=0, description=TVD_TEMPERATURE)

    @property
    def scale(self) -> float:
        """τ: a distance shrinks with the difference of the logits, a divergence with its square."""
        return self.temperature


class Uld(LogitTerm):
    """Distance of the sorted probabilities, which needs no common vocabulary."""

    any_vocabulary: ClassVar[bool] = True
    by_label: ClassVar[Literal["classes", "logits", "none"]] = "none"
    kind: Literal["uld"] = "uld"
    temperature: float = Field(1.0, gt=0, description=TVD_TEMPERATURE)

    @property
    def scale(self) -> float:
        """τ, as for the total variation distance."""
        return self.temperature

    @model_validator(mode="after")
    def _all_entries(self) -> Self:
        refuse_top_k(self.top_k)
        return self


def refuse_top_k(top_k: int | None) -> None:
    """Raise ValueError if the sorted-probability distance is limited to some entries."""
    if top_k is not None:
        raise ValueError(
            f"top_k {top_k} with uld, but it compares all probabilities in sorted order; "
            "leave top_k out"
        )


class LogitMse(LogitTerm):
    """Mean squared difference of the logits themselves."""

    between_numbers: ClassVar[bool] = True
    by_label: ClassVar[Literal["classes", "logits", "none"]] = "logits"
    kind: Literal["logit_mse"] = "logit_mse"
    temperature: float = Field(1.0, gt=0, description="τ; without effect on this loss")

    @model_validator(mode="after")
    def _all_classes(self) -> Self:
        if self.top_k is not None:
            raise ValueError(
                f"top_k {self.top_k} with logit_mse, but the kept classes are compared as "
                "log-probabilities, which a shift of the logits does not change; leave top_k out, "
                "or use kind: forward_kl"
            )
        return self


LogitLoss = Annotated[
    ForwardKl | ReverseKl | Jsd | SkewForwardKl | SkewReverseKl | Tvd | LogitMse | Uld,
    Field(discriminator="kind"),
]

LOGIT_TERMS: dict[str, type[LogitTerm]] = {
    get_args(term.model_fields["kind"].annotation)[0]: term
    for term in get_args(get_args(LogitLoss)[0])
}
"""Every logit loss by its name in a spec."""
