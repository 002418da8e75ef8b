"""Settings that are not read decide nothing, and settings that are tell trials apart."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexkd_platform.spec import METHODS, FeatureMethod, sha256_of

from .plans import LAYERED, OF_OUTPUTS, WRITING, Planner, needs, only

WITH_TOP_K = [kind for kind in OF_OUTPUTS if kind != "uld"]

UNREAD: list[dict[str, Any]] = [
    *({"kind": kind, "beta": 0, "lambda": 1, "temperature": 2, "top_k": 3} for kind in WITH_TOP_K),
    {"kind": "uld", "beta": 0, "lambda": 1, "temperature": 2},
    {"kind": "jsd", "beta": 0, "lambda": 1, "mixture": 0.1, "scaled": True},
    {"kind": "jsd", "scaled": False},
    {"kind": "cka", "alpha": 0, "normalise": "gradient"},
    {"kind": "skew_fkl", "beta": 0, "lambda": 1, "skew": 0.3},
    {"kind": "skew_rkl", "beta": 0, "lambda": 1, "skew": 0.3},
    *({"kind": kind, "logit": {"kind": "tvd", "temperature": 2.0, "top_k": 1}} for kind in LAYERED),
    {"kind": "flexkd", "alpha": 0, "loss": "mse", "pairing": "index", "layers": "every"},
    {"kind": "flexkd", "alpha": 0, "target": "directions"},
    {"kind": "cka", "alpha": 0, "form": "kornblith"},
    {"kind": "projector", "alpha": 0, "loss": "correlation"},
]

READ: list[dict[str, Any]] = [
    *({"kind": kind, "temperature": 2} for kind in OF_OUTPUTS),
    *({"kind": kind, "top_k": 2} for kind in WITH_TOP_K),
    {"kind": "jsd", "mixture": 0.1},
    {"kind": "jsd", "scaled": True},
    *({"kind": kind, "normalise": "gradient"} for kind in LAYERED),
    {"kind": "skew_fkl", "skew": 0.3},
    {"kind": "skew_rkl", "skew": 0.3},
    *({"kind": kind, "beta": 1, "logit": {"kind": "tvd"}} for kind in LAYERED),
    {"kind": "flexkd", "loss": "mse"},
    {"kind": "flexkd", "reduction": "mean"},
    {"kind": "flexkd", "pairing": "index"},
    {"kind": "flexkd", "target": "directions"},
    {"kind": "cka", "form": "kornblith"},
    {"kind": "projector", "loss": "correlation"},
]


def plain(method: dict[str, Any]) -> dict[str, Any]:
    """The method with its kind and weights alone."""
    return {k: v for k, v in method.items() if k in {"kind", "alpha", "beta", "lambda"}}


@pytest.mark.parametrize("method", UNREAD, ids=str)
def test_a_setting_that_is_not_read_is_no_other_training(
    plan: Planner, method: dict[str, Any]
) -> None:
    assert len(only(plan, plain(method), method).trials) == 2  # seeds


@pytest.mark.parametrize("method", READ, ids=str)
def test_a_setting_that_is_read_is(plan: Planner, method: dict[str, Any]) -> None:
    assert len(only(plan, plain(method), method).trials) == 4


def test_scaling_at_an_end_of_the_mixture_is_no_other_training(plan: Planner) -> None:
    for end in (0, 1):
        pair = [{"kind": "jsd", "mixture": end, "scaled": scaled} for scaled in (False, True)]
        assert len(only(plan, *pair).trials) == 2
        terms = [{"kind": "jsd", "beta": end, "scaled": scaled} for scaled in (False, True)]
        assert len(only(plan, *({"kind": "cka", "beta": 1, "logit": t} for t in terms)).trials) == 2
    terms = [{"kind": "jsd", "scaled": scaled} for scaled in (False, True)]
    assert len(only(plan, *({"kind": "cka", "beta": 1, "logit": t} for t in terms)).trials) == 4


def test_reductions_of_losses_that_have_none(plan: Planner) -> None:
    for loss in ("mse", "cosine"):
        pair = [{"kind": "flexkd", "loss": loss, "reduction": r} for r in ("sum", "mean")]
        assert len(only(plan, *pair).trials) == 2
    pair = [{"kind": "flexkd", "target": "directions", "pairing": p} for p in ("rank", "index")]
    assert len(only(plan, *pair).trials) == 2


def test_every_feature_method_is_layered() -> None:
    """The lists above are of all of them."""
    features = [name for name, method in METHODS.items() if issubclass(method, FeatureMethod)]
    assert features == LAYERED
    assert set(OF_OUTPUTS) | set(LAYERED) | {"ft", "seqkd"} == set(METHODS)


# --- what tells trials apart -------------------------------------------------------------------

VARIANTS: list[dict[str, Any]] = [
    *({"kind": kind} for kind in METHODS),
    {"kind": "seqkd", "decoding": "beam"},
    {"kind": "minillm", "on_policy": {}},
    {"kind": "cka", "layers": "every"},
    {"kind": "flexkd", "layers": "every", "beta": 1},
    {"kind": "flexkd", "layers": {"0": 0}, "target": "directions"},
]
STARTS: list[dict[str, Any]] = [
    {"student.init": {"kind": "aligned", "layers": 2, "hidden_size": 16}},
    {"student.init.weights": "finetuned"},
    {"student.warm_up": {"epochs": 1}},
    {"student.init": {"kind": "pretrained", "model": "a/student"}},
]
WRITTEN_AXES = st.fixed_dictionaries(
    {},
    optional={
        "score.layer": st.lists(st.sampled_from(["last", -1, 3, -2]), min_size=1, unique=True),
        "score.kind": st.just(["gradient", "random"]),
        "score.aggregation": st.just(["global", "batch"]),
        "task.max_response": st.just([8, 16]),
        "distill.teacher_cache": st.just(["auto", "off"]),
    },
)


# The fixtures hold nothing that a run of the body changes.
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    task=st.sampled_from(WRITING),
    methods=st.lists(st.sampled_from(VARIANTS), min_size=1, max_size=4),
    start=st.sampled_from(STARTS),
    axes=WRITTEN_AXES,
)
def test_settings_tell_trials_apart(
    writing: Planner,
    task: str,
    methods: list[dict[str, Any]],
    start: dict[str, Any],
    axes: dict[str, list[Any]],
) -> None:
    found = writing(task, {"sweep.methods": methods, "sweep.axes": axes} | start)
    told = Counter(sha256_of([t.method, dict(t.settings), t.seed]) for t in found.trials)
    assert set(told.values()) == {1}
    seen: set[str] = set()
    for step in found.steps():
        assert all(needed.hash in seen for needed in step.needs.values())
        assert step.hash not in seen
        seen.add(step.hash)


def test_a_student_is_aligned_at_the_decoder_whether_or_not_the_encoder_is_scored(
    writing: Planner,
) -> None:
    changes = {
        "student.init": {"kind": "aligned", "layers": 2, "hidden_size": 16},
        "sweep.methods": [{"kind": "ft"}],
        "sweep.axes": {"score.layer": ["last", "decoder.-1"]},
    }
    one, other = writing("summarization", changes).trials
    assert one.seed != other.seed
    assert one.settings["score.layer"] == "decoder.3"


def test_a_trial_of_too_large_caches_asks_the_teacher_live(writing: Planner) -> None:
    """100 examples of 256 response tokens and of as many document tokens, 32 units of 6 layers."""
    changes = {"sweep.methods": [{"kind": "cka", "layers": layers} for layers in ("last", "every")]}
    kept, wide = (
        writing("summarization", changes | {"task.max_prompt": length}).trials
        for length in (2**10, 2**19)
    )
    assert all(trial.distill.identity["distill"]["teacher_cache"] == "auto" for trial in kept)
    last, _, every, _ = wide
    assert {"teacher"} <= needs(every)
    assert not any(role.startswith("cache") for role in needs(every))
    assert "teacher" not in needs(last)


def test_between_numbers_the_logit_loss_has_no_settings(plan: Planner) -> None:
    task = {"task": {"kind": "regression"}}
    soft = [{"kind": "kd", "temperature": t} for t in (1.0, 2.0, 4.0)]
    assert len(only(plan, *soft, **task).trials) == 2, "two seeds of one training"
    assert len(only(plan, *soft).trials) == 6
