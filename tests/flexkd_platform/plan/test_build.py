"""What a spec comes to: the trials it multiplies out to, and which steps they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexkd_platform.plan import (
    KINDS,
    Facts,
    FactsOf,
    ModelSource,
    Plan,
    ScoreConfig,
    Step,
    Trial,
)
from flexkd_platform.spec import METHODS, FeatureMethod, JobSpec, LogitMethod, SpecError, sha256_of

from ..plain_steps import plain_step

Planner = Callable[..., Plan]

OF_OUTPUTS = tuple(name for name, method in METHODS.items() if issubclass(method, LogitMethod))
OF_FEATURES = tuple(name for name, method in METHODS.items() if issubclass(method, FeatureMethod))
TEACHED = (*OF_OUTPUTS, *OF_FEATURES)
LABELLED = ("ft", *TEACHED)
"""The methods of tasks whose students write no text, in the table's order."""


def hashes(plan: Plan) -> dict[str, set[str]]:
    """Kind of step → hashes; a trial's own steps by method, as `distill ft`."""
    found: dict[str, set[str]] = {}
    for step in plan.shared:
        name = f"cache {step.config.holds}" if step.kind == "cache" else step.kind
        found.setdefault(name, set()).add(step.hash)
    for trial in plan.trials:
        for step in (trial.distill, trial.evaluate):
            found.setdefault(f"{step.kind} {trial.method}", set()).add(step.hash)
    return found


def counts(plan: Plan) -> Counter[str]:
    return Counter(trial.method for trial in plan.trials)


def params(plan: Plan, method: str) -> list[dict[str, Any]]:
    seed = plan.trials[0].seed
    return [dict(t.params) for t in plan.trials if t.method == method and t.seed == seed]


# --- trials ------------------------------------------------------------------------------------


def test_every_method_with_every_seed(plan: Planner) -> None:
    trials = plan().trials
    assert [(t.method, t.seed) for t in trials] == [(m, s) for m in LABELLED for s in (10, 20)]
    assert len({t.hash for t in trials}) == 24
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
    assert [s.kind for s in found.steps()][6:] == ["distill", "evaluate"] * 24


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


# --- identity ----------------------------------------------------------------------------------

STUDENTS = {f"{kind} {m}" for kind in ("distill", "evaluate") for m in LABELLED}
TEACHED_STUDENTS = {f"{kind} {m}" for kind in ("distill", "evaluate") for m in TEACHED}
FEATURED_STUDENTS = {f"{kind} {m}" for kind in ("distill", "evaluate") for m in OF_FEATURES}
FLEXKD = {"distill flexkd", "evaluate flexkd"}
CACHES = {"cache outputs", "cache 5"}
ALL = {"dataset", "teacher", "score", "select"} | CACHES | STUDENTS
PLACE = {name: place for place, name in enumerate(LABELLED)}

CHANGED: list[tuple[dict[str, Any], set[str]]] = [
    # Where and how wide things run, what is recorded, what a job is called.
    ({"resources.score_workers": 9, "resources.trial_workers": 4}, set()),
    ({"tracking.experiment": "other", "name": "other", "sweep.baseline": None}, set()),
    ({"reference": [{"method": "ft", "metric": "accuracy", "mean": 0.9}]}, set()),
    ({"task.data.path": "elsewhere/reviews.jsonl"}, set()),
    # What reads the data.
    ({"task.data.train": 50}, ALL),
    ({"task.data.text": "sentence"}, ALL),
    ({"task.max_length": 32}, ALL - {"dataset"}),
    # The teacher: what it is made from also makes the student's first weights.
    ({"teacher.finetune.epochs": 3}, ALL - {"dataset", "distill ft", "evaluate ft"}),
    ({"teacher.finetune": None}, ALL - {"dataset", "distill ft", "evaluate ft"}),
    ({"teacher.model": "another/teacher"}, ALL - {"dataset"}),
    # The score and what is chosen by it.
    ({"score.kind": "activation"}, {"score", "select"} | FLEXKD),
    ({"score.output": "label_logit"}, {"score", "select"} | FLEXKD),
    ({"score.samples": 50}, {"score", "select"} | FLEXKD),
    ({"score.chunk": 16}, CACHES | {"score", "select"} | TEACHED_STUDENTS),
    # The same thing said in another way.
    ({"score.output": "predicted_logit"}, set()),
    ({"score.samples": 100}, set()),
    ({"score.layer": 5}, set()),
    ({"score.layer": -1}, set()),
    # Settings that this kind of importance does not read.
    ({"score.steps": 3, "score.seed": 9, "score.every": 9}, set()),
    # The student and its training.
    ({"student.init.hidden_size": 8}, {"select"} | STUDENTS),
    ({"student.init.units": "first"}, STUDENTS),
    ({"student.init": {"kind": "random", "layers": 2, "hidden_size": 16}}, STUDENTS),
    ({"distill.learning_rate": 1e-3}, STUDENTS),
    ({"distill.dropout": 0.1}, STUDENTS),
    ({"sweep.seeds": [11, 21]}, STUDENTS),
    ({f"sweep.methods[{PLACE['flexkd']}].alpha": 0.05}, FLEXKD),
    ({f"sweep.methods[{PLACE['flexkd']}].pairing": "index"}, FLEXKD),
    ({"sweep.methods[1].temperature": 2}, {"distill kd", "evaluate kd"}),
    ({"sweep.methods[1].top_k": 2}, {"distill kd", "evaluate kd"}),
    # Settings of a logit loss that has no weight.
    ({f"sweep.methods[{PLACE['flexkd']}].logit": {"kind": "jsd", "temperature": 2}}, set()),
    # The same layers by other names.
    ({f"sweep.methods[{PLACE['flexkd']}].layers": {"-1": 5}}, set()),
    ({f"sweep.methods[{PLACE['cka']}].layers": {"1": "last"}}, set()),
    # How students are measured.
    ({"evaluate.split": "validation"}, {f"evaluate {m}" for m in LABELLED}),
    ({"evaluate.metrics": ["f1"]}, {f"evaluate {m}" for m in LABELLED}),
    # What tasks that write alone read of it.
    ({"evaluate.decoding": {"kind": "greedy"}, "evaluate.max_new_tokens": 3}, set()),
]


def name(value: Any) -> str:
    """The id of a parameter, the same in every process; a set has no order of its own."""
    return str(sorted(value) if isinstance(value, set) else value)[:60]


@pytest.mark.parametrize(("changes", "expected"), CHANGED, ids=name)
def test_a_change_reaches_exactly_what_it_decides(
    plan: Planner, changes: dict[str, Any], expected: set[str]
) -> None:
    before, after = hashes(plan()), hashes(plan(changes))
    assert set(before) == set(after) == ALL
    assert {name for name in ALL if before[name] != after[name]} == expected
    # Where a hash changes, none of the old ones is used again.
    assert all(before[name].isdisjoint(after[name]) for name in expected)


def test_another_scored_layer_is_another_cache_of_features_alone(plan: Planner) -> None:
    before, after = hashes(plan()), hashes(plan({"score.layer": 2}))
    assert set(before) - set(after) == {"cache 5"}
    assert set(after) - set(before) == {"cache 2"}
    kept = set(before) & set(after)
    assert {name for name in kept if before[name] != after[name]} == (
        {"score", "select"} | FEATURED_STUDENTS
    )


def test_turning_the_cache_off_is_another_training_of_the_taught(plan: Planner) -> None:
    before, after = hashes(plan()), hashes(plan({"distill.teacher_cache": "off"}))
    assert set(before) - set(after) == CACHES
    assert {n for n in after if before[n] != after[n]} == TEACHED_STUDENTS


def test_a_pretrained_student_does_not_depend_on_the_teacher(plan: Planner) -> None:
    own = {"student.init": {"kind": "pretrained", "model": "a/student"}}
    before, after = hashes(plan(own)), hashes(plan(own | {"teacher.model": "another/teacher"}))
    changed = {name for name in ALL if before[name] != after[name]}
    assert changed == ALL - {"dataset", "distill ft", "evaluate ft"}


FACTS: list[tuple[dict[str, Any], set[str]]] = [
    ({"data_fingerprint": "e" * 64}, ALL),
    ({"train_rows": 101}, {"score", "select"} | FLEXKD),
    ({"outputs": 3}, ALL - {"dataset"}),
    ({"teacher_fingerprint": "f" * 64}, ALL - {"dataset"}),
    ({"student_hidden": 8}, {"select"} | FLEXKD),
    # A sliced student is its teacher's fingerprint and its own settings; widths are no content.
    ({"student_fingerprint": "g" * 64}, set()),
    ({"teacher_hidden": 64}, set()),
]


@pytest.mark.parametrize(("facts", "expected"), FACTS, ids=name)
def test_facts_that_decide(
    plan: Planner, facts_of: FactsOf, facts: dict[str, Any], expected: set[str]
) -> None:
    def other(spec: JobSpec) -> Facts:
        return replace(facts_of(spec), **facts)

    before, after = hashes(plan()), hashes(plan(known=other))
    assert {name for name in ALL if before[name] != after[name]} == expected


@pytest.mark.parametrize(
    ("kind", "reads"),
    [
        ("gradient", {"output"}),
        ("integrated_gradients", {"output", "steps"}),
        ("activation", set()),
        ("random", {"seed"}),
    ],
)
def test_a_score_is_named_by_the_settings_it_reads(
    plan: Planner, kind: str, reads: set[str]
) -> None:
    def digest(changes: dict[str, Any]) -> str:
        (step,) = (s for s in plan({"score.kind": kind} | changes).shared if s.kind == "score")
        return step.hash

    values = {"output": "loss", "steps": 5, "seed": 5}
    assert {k for k, v in values.items() if digest({f"score.{k}": v}) != digest({})} == reads


def test_identities_hold_no_place(plan: Planner) -> None:
    found = plan({"student.init": {"kind": "pretrained", "model": "a/student"}})
    named = [str(dict(step.identity)) for step in found.steps()]
    assert len(named) == 6 + 2 * 24
    for text in named:
        for place in ("reviews.jsonl", "some/teacher", "a/student"):
            assert place not in text


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


# --- a step's hash -----------------------------------------------------------------------------


def test_a_hash_is_kind_code_identity_and_needs() -> None:
    below = plain_step("dataset", {"a": 1})
    step = plain_step("teacher", {"b": 2}, {"dataset": below})
    assert below.hash == sha256_of(
        {"kind": "dataset", "code": KINDS["dataset"].version, "identity": {"a": 1}, "needs": {}}
    )
    assert step.hash == sha256_of(
        {
            "kind": "teacher",
            "code": KINDS["teacher"].version,
            "identity": {"b": 2},
            "needs": {"dataset": below.hash},
        }
    )
    other = plain_step("dataset", {"a": 2})
    assert plain_step("teacher", {"b": 2}, {"student": below}).hash != step.hash
    assert plain_step("teacher", {"b": 2}, {"dataset": other}).hash != step.hash
    assert plain_step("score", {"b": 2}, {"dataset": below}).hash != step.hash


def test_a_path_is_no_part_of_a_hash(plan: Planner) -> None:
    teacher = plan().teachers[0]
    moved = replace(teacher.config, pretrained=ModelSource("elsewhere"))
    assert Step(moved).hash == teacher.hash


def test_a_new_code_version_is_another_step_and_so_are_those_above(
    plan: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(plan())
    kind = ScoreConfig.kind
    monkeypatch.setattr(ScoreConfig, "kind", replace(kind, version=kind.version + 1))
    after = hashes(plan())
    assert {n for n in ALL if before[n] != after[n]} == {"score", "select"} | FLEXKD
