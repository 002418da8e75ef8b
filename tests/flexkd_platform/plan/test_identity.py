"""What a step's identity holds: a change reaches exactly what it decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flexkd_platform.plan import (
    KINDS,
    Facts,
    FactsOf,
    ModelSource,
    ScoreConfig,
    Step,
)
from flexkd_platform.spec import JobSpec, sha256_of

from ..plain_steps import plain_step
from .plans import LABELLED, OF_FEATURES, TEACHED, Planner, hashes

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
    ({"distill.batches": "bucketed"}, set()),
    ({"distill.batches": "random"}, STUDENTS),
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
    # All rows are scored, and the data decide how many there are.
    ({"train_rows": 101}, set()),
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
    assert len(named) == 6 + 2 * 26
    for text in named:
        for place in ("reviews.jsonl", "some/teacher", "a/student"):
            assert place not in text


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
