"""What a spec comes to: the trials it multiplies out to, and which steps they share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexkd_platform.plan import (
    Plan,
    Trial,
)
from flexkd_platform.spec import METHODS, SpecError, sha256_of

from .plans import LABELLED, OF_FEATURES, OF_OUTPUTS, TEACHED, Planner


def counts(plan: Plan) -> Counter[str]:
    return Counter(trial.method for trial in plan.trials)


def params(plan: Plan, method: str) -> list[dict[str, Any]]:
    seed = plan.trials[0].seed
    return [dict(t.params) for t in plan.trials if t.method == method and t.seed == seed]


# --- trials ------------------------------------------------------------------------------------


def test_every_method_with_every_seed(plan: Planner) -> None:
    trials = plan().trials
    assert [(t.method, t.seed) for t in trials] == [(m, s) for m in LABELLED for s in (10, 20)]
    assert len({t.hash for t in trials}) == 26
    assert {*LABELLED, "seqkd"} == set(METHODS)
    assert all(t.hash == t.distill.hash for t in trials)
    assert all(t.evaluate.needs["student"] is t.distill for t in trials)


def test_an_axis_multiplies_only_what_it_touches(plan: Planner) -> None:
    axis = {"sweep.axes": {"score.kind": ["gradient", "random", "activation"]}}
    assert counts(plan(axis)) == dict.fromkeys(LABELLED, 2) | {"flexkd": 6}


def test_an_axis_of_the_training_multiplies_every_method(plan: Planner) -> None:
    axis = {"sweep.axes": {"distill.epochs": [1, 2, 3]}}
    assert counts(plan(axis)) == dict.fromkeys(LABELLED, 6)


def test_an_axis_of_the_teachers_training_leaves_fine_tuning_alone(plan: Planner) -> None:
    found = plan({"sweep.axes": {"teacher.finetune.epochs": [1, 2]}})
    assert counts(found) == {"ft": 2} | dict.fromkeys(TEACHED, 4)
    assert len(found.teachers) == 2


def test_axes_combine(plan: Planner) -> None:
    axes = {"score.kind": ["gradient", "random"], "distill.epochs": [1, 2], "score.seed": [0, 1]}
    found = plan({"sweep.axes": axes})
    # The seed of random importance touches random importance alone: 1 + 2 scores.
    assert counts(found) == dict.fromkeys(LABELLED, 4) | {"flexkd": 12}
    assert params(found, "kd") == [{"beta": 0.5, "distill.epochs": e} for e in (1, 2)]
    assert params(found, "flexkd") == [
        {"alpha": 0.5, "score.kind": "gradient", "distill.epochs": 1},
        {"alpha": 0.5, "score.kind": "gradient", "distill.epochs": 2},
        {"alpha": 0.5, "score.kind": "random", "distill.epochs": 1, "score.seed": 0},
        {"alpha": 0.5, "score.kind": "random", "distill.epochs": 1, "score.seed": 1},
        {"alpha": 0.5, "score.kind": "random", "distill.epochs": 2, "score.seed": 0},
        {"alpha": 0.5, "score.kind": "random", "distill.epochs": 2, "score.seed": 1},
    ]


def test_an_axis_of_one_value_is_no_parameter(plan: Planner) -> None:
    found = plan({"sweep.axes": {"distill.epochs": [3]}})
    assert all("distill.epochs" not in t.params for t in found.trials)
    assert all(t.settings["distill.epochs"] == 3 for t in found.trials)


def test_the_same_method_or_value_twice_is_one_trial(plan: Planner) -> None:
    doubled = plan(
        {
            "sweep.methods": [{"kind": "ft"}, {"kind": "kd"}, {"kind": "ft"}],
            "sweep.axes": {"distill.epochs": [1, 1.0]},
        }
    )
    assert counts(doubled) == {"ft": 2, "kd": 2}


def test_a_combination_that_is_not_allowed(plan: Planner) -> None:
    """Each value alone is checked with the spec; together they may still not fit."""
    axes = {"student.init.kind": ["random"], "student.init.units": ["first"]}
    with pytest.raises(SpecError, match="unknown key 'units'"):
        plan({"sweep.axes": axes})


AXES = st.fixed_dictionaries(
    {},
    optional={
        "distill.epochs": st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3, unique=True),
        "distill.teacher_cache": st.lists(
            st.sampled_from(["auto", "off"]), min_size=1, max_size=2, unique=True
        ),
        "score.kind": st.lists(
            st.sampled_from(["gradient", "activation", "random"]), min_size=1, unique=True
        ),
        "score.layer": st.lists(st.sampled_from(["last", 5, -1, 2]), min_size=1, max_size=3),
        "teacher.finetune.seed": st.lists(st.integers(0, 3), min_size=1, max_size=2),
        "student.init.hidden_size": st.lists(st.sampled_from([8, 16]), min_size=1, max_size=2),
    },
)


# The fixtures hold nothing that a run of the body changes.
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(axes=AXES)
def test_laws_of_every_plan(plan: Planner, axes: dict[str, list[Any]]) -> None:
    found = plan({"sweep.axes": axes})
    # No trial twice, and every trial of a group by another seed.
    assert len({t.hash for t in found.trials}) == len(found.trials)
    groups = Counter(sha256_of([t.method, dict(t.params)]) for t in found.trials)
    assert set(groups.values()) == {2}
    # What a reader sees tells two trials apart, and so do their settings.
    assert len({sha256_of([t.method, dict(t.settings), t.seed]) for t in found.trials}) == len(
        found.trials
    )
    # The order of the axes' values only orders.
    turned = plan({"sweep.axes": {path: values[::-1] for path, values in axes.items()}})
    assert {t.hash for t in turned.trials} == {t.hash for t in found.trials}
    assert {s.hash for s in turned.shared} == {s.hash for s in found.shared}
    # Everything a step needs comes before it.
    seen: set[str] = set()
    for step in found.steps():
        assert all(needed.hash in seen for needed in step.needs.values())
        assert step.hash not in seen
        seen.add(step.hash)


# --- steps -------------------------------------------------------------------------------------


def test_shared_steps_in_order(plan: Planner) -> None:
    found = plan()
    assert [s.kind for s in found.shared] == [
        "dataset",
        "teacher",
        "cache",
        "cache",
        "score",
        "select",
    ]
    assert [s.kind for s in found.teachers] == ["teacher"]
    assert [s.kind for s in found.steps()][6:] == ["distill", "evaluate"] * 26


def test_what_each_method_needs(plan: Planner) -> None:
    found = {t.method: set(t.distill.needs) for t in plan().trials}
    assert found == (
        {"ft": {"dataset"}}
        | {key: {"dataset", "cache outputs"} for key in OF_OUTPUTS}
        | {key: {"dataset", "cache 5"} for key in OF_FEATURES}
        | {"flexkd": {"dataset", "cache 5", "select 5"}}
    )


def test_without_a_cache_the_teacher_itself_is_needed(plan: Planner) -> None:
    found = plan({"distill.teacher_cache": "off"})
    assert {t.method: set(t.distill.needs) for t in found.trials} == (
        {"ft": {"dataset"}}
        | {key: {"dataset", "teacher"} for key in TEACHED}
        | {"flexkd": {"dataset", "teacher", "select 5"}}
    )
    assert [s.kind for s in found.shared] == ["dataset", "teacher", "score", "select"]


def test_fine_tuning_alone_still_makes_the_teacher_it_is_compared_with(plan: Planner) -> None:
    found = plan({"sweep.methods": [{"kind": "ft"}]})
    assert [s.kind for s in found.shared] == ["dataset", "teacher"]


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        *(({"kind": m, "beta": 0, "lambda": 1}, {"dataset"}) for m in OF_OUTPUTS),
        *(({"kind": m, "alpha": 0}, {"dataset"}) for m in OF_FEATURES),
        *(({"kind": m, "alpha": 0, "beta": 1}, {"dataset", "cache outputs"}) for m in OF_FEATURES),
        ({"kind": "cka", "beta": 1}, {"dataset", "cache 5", "cache outputs"}),
        ({"kind": "flexkd", "alpha": 1, "lambda": 0}, {"dataset", "cache 5", "select 5"}),
    ],
)
def test_a_term_without_weight_needs_nothing(
    plan: Planner, method: dict[str, Any], needs: set[str]
) -> None:
    found = plan({"sweep.methods": [method]})
    assert set(found.trials[0].distill.needs) == needs


def test_upstream_names_dependencies_first_and_none_twice(plan: Planner) -> None:
    (trial, _) = plan({"sweep.methods": [{"kind": "flexkd"}]}).trials
    assert [s.kind for s in trial.distill.upstream()] == [
        "dataset",
        "teacher",
        "cache",
        "score",
        "select",
    ]
    assert [s.kind for s in trial.evaluate.upstream()][-1] == "distill"
    assert len({s.hash for s in trial.evaluate.upstream()}) == 6


# --- what a trial says of itself ---------------------------------------------------------------


def trial_of(plan: Plan, method: str) -> Trial:
    return next(t for t in plan.trials if t.method == method)


def test_params_are_the_main_weight_and_what_is_not_default(plan: Planner) -> None:
    methods = [
        {"kind": "ft"},
        {"kind": "kd", "beta": 0.5},
        {"kind": "kd", "beta": 0.1, "lambda": 1, "temperature": 4},
        {"kind": "flexkd", "alpha": 0.5, "loss": "correlation"},
        {"kind": "flexkd", "beta": 1, "pairing": "index"},
        {"kind": "flexkd", "beta": 1, "logit": {"kind": "jsd", "temperature": 2}},
        {"kind": "flexkd", "layers": {"0": 2, "1": 5}},
    ]
    found = plan({"sweep.methods": methods})
    assert params(found, "ft") == [{}]
    assert params(found, "kd") == [
        {"beta": 0.5},
        {"beta": 0.1, "lambda": 1.0, "temperature": 4.0},
    ]
    assert params(found, "flexkd") == [
        {"alpha": 0.5},
        {"alpha": 0.5, "beta": 1.0, "pairing": "index"},
        {
            "alpha": 0.5,
            "beta": 1.0,
            "logit": "jsd",
            "logit.temperature": 2.0,
            "logit.beta": 0.5,
        },
        {"alpha": 0.5, "layers": "0→2 1→5"},
    ]


def test_settings_are_all_that_decides_but_the_seed(plan: Planner) -> None:
    found = plan()
    one, other = [t for t in found.trials if t.method == "flexkd"]
    assert one.settings == other.settings
    assert (one.seed, other.seed) == (10, 20)
    assert "seed" not in one.settings
    expected = {
        "method.alpha": 0.5,
        "distill.learning_rate": 3e-4,
        "student.init.hidden_size": 16,
        "teacher.finetune.epochs": 1.0,
        "score.kind": "gradient",
        "select.count": 16,
        "dataset.fingerprint": "d" * 64,
        "cache.dtype": "float32",
        "max_length": 64,
    }
    assert {path: one.settings.get(path) for path in expected} == expected
    plain = trial_of(found, "ft").settings
    assert {path.partition(".")[0] for path in plain} == {
        "method",
        "student",
        "distill",
        "dataset",
        "task",
        "outputs",
        "max_length",
        "padding",
    }


def test_the_evaluation_knows_metrics_and_split(plan: Planner) -> None:
    step = plan({"evaluate": {"metrics": ["f1"], "split": "validation"}}).trials[0].evaluate
    assert step.identity == {"metrics": ["f1"], "split": "validation", "task": "classification"}
    assert plan().trials[0].evaluate.identity["metrics"] == ["accuracy", "f1", "matthews"]


def test_a_regressions_score_is_that_of_its_value(plan: Planner) -> None:
    found = plan({"task": {"kind": "regression", "data": {"source": "files", "path": "x.csv"}}})
    (score,) = (s for s in found.shared if s.kind == "score")
    assert score.identity["output"] == "value"
