"""The distillation methods and their settings, one file each; `METHODS` is the table."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from .cka import CkaDistillation
from .flexkd import FlexKd
from .ft import FineTuning
from .gram import GramDistillation
from .jsd import JsdDistillation
from .kd import LogitDistillation
from .logit import LOGIT_TERMS, LogitLoss, LogitTerm
from .method import (
    FEWEST_ROWS,
    LossSettings,
    MethodSettings,
    OnPolicy,
    Pairing,
    Target,
    TeacherResponses,
    TermWeights,
    UnitOrder,
    UnitSelection,
    Weights,
)
from .minillm import MiniLlm
from .procrustes import ProcrustesDistillation
from .projector import ProjectorDistillation
from .seqkd import SeqKd
from .skew_fkl import SkewForward
from .skew_rkl import SkewReverse
from .tvd import TvdDistillation
from .uld import UldDistillation
from .weights import FeatureMethod, LayeredMethod, LogitMethod, TeacherMethod

Method = Annotated[
    FineTuning
    | LogitDistillation
    | SeqKd
    | MiniLlm
    | JsdDistillation
    | SkewForward
    | SkewReverse
    | TvdDistillation
    | UldDistillation
    | ProjectorDistillation
    | CkaDistillation
    | FlexKd
    | ProcrustesDistillation
    | GramDistillation,
    Field(discriminator="kind"),
]

MethodName = Literal[
    "ft",
    "kd",
    "seqkd",
    "minillm",
    "jsd",
    "skew_fkl",
    "skew_rkl",
    "tvd",
    "uld",
    "projector",
    "cka",
    "flexkd",
    "procrustes",
    "gram",
]

METHODS: dict[str, type[MethodSettings]] = {
    get_args(method.model_fields["kind"].annotation)[0]: method
    for method in get_args(get_args(Method)[0])
}
"""Every method by its name in a spec, in the order of tables."""

__all__ = [
    "FEWEST_ROWS",
    "LOGIT_TERMS",
    "METHODS",
    "CkaDistillation",
    "FeatureMethod",
    "FineTuning",
    "FlexKd",
    "GramDistillation",
    "JsdDistillation",
    "LayeredMethod",
    "LogitDistillation",
    "LogitLoss",
    "LogitMethod",
    "LogitTerm",
    "LossSettings",
    "Method",
    "MethodName",
    "MethodSettings",
    "MiniLlm",
    "OnPolicy",
    "Pairing",
    "ProcrustesDistillation",
    "ProjectorDistillation",
    "SeqKd",
    "SkewForward",
    "SkewReverse",
    "Target",
    "TeacherMethod",
    "TeacherResponses",
    "TermWeights",
    "TvdDistillation",
    "UldDistillation",
    "UnitOrder",
    "UnitSelection",
    "Weights",
]
