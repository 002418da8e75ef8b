"""`flexkd list`: print what is registered, one per line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import get_args

from ..spec import (
    METHODS,
    TASK_KINDS,
    Problem,
    Score,
    SpecError,
    did_you_mean,
    load_installed_plugins,
)
from .loss_source import losses_in_source

Line = tuple[str, str]


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _methods() -> Iterable[Line]:
    return ((name, _first_line(method)) for name, method in METHODS.items())


def _losses() -> Iterable[Line]:
    if "flexkd_core.losses" in sys.modules:  # an installed plugin may have added some
        from flexkd_core import FEATURE_LOSSES, LOGIT_LOSSES

        tables = {"feature": FEATURE_LOSSES, "logit": LOGIT_LOSSES}
        for kind, losses in tables.items():
            for name, loss in losses.items():
                yield name, f"{kind}: {_first_line(loss)}"
    else:
        yield from losses_in_source()


def _tasks() -> Iterable[Line]:
    return ((name, f"metrics: {', '.join(kind.metrics)}") for name, kind in TASK_KINDS.items())


def _selectors() -> Iterable[Line]:
    meanings = {
        "gradient": "mean |∂F/∂h| of a teacher unit over examples (the paper's)",
        "activation": "mean |h|",
        "gradient_activation": "mean |h · ∂F/∂h|",
        "contribution": "covariance of a unit's share g·h with the output: (M Σ)_ii",
        "integrated_gradients": "mean |integrated gradient| from the baseline 0",
        "random": "seeded random importance: the control",
    }
    kinds = get_args(Score.model_fields["kind"].annotation)
    return [(name, meanings[name]) for name in kinds]


def _models() -> Iterable[Line]:
    from ..model_info import FAMILIES

    does = {None: "", "causal": ", instruction", "seq2seq": "summarization"}
    for name, family in FAMILIES.items():
        labels = "" if family.encoder_decoder else "classification, regression"
        students = "any kind of student"
        if family.not_cut is not None:
            students = "pretrained and random students"
        yield name, f"{labels}{does[family.language_model]}; {students}"
    yield (
        "others",
        "text models of transformers whose parts are found: teachers, pretrained students",
    )


LISTS: dict[str, Callable[[], Iterable[Line]]] = {
    "methods": _methods,
    "losses": _losses,
    "tasks": _tasks,
    "selectors": _selectors,
    "models": _models,
}


def show_list(what: str, as_json: bool) -> int:
    """Print one list."""
    if what not in LISTS:
        problem = Problem(
            "", f"unknown list {what!r}", f"{did_you_mean(what, LISTS)}allowed: {', '.join(LISTS)}"
        )
        raise SpecError([problem])
    problems = load_installed_plugins()
    if problems:
        raise SpecError(problems)
    lines = list(LISTS[what]())
    if as_json:
        print(json.dumps([{"name": n, "meaning": meaning} for n, meaning in lines], indent=1))
        return 0
    for name, meaning in lines:
        print(f"{name:22} {meaning}")
    return 0
