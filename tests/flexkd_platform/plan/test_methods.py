"""What the methods share: caches by what they hold, and steps for those who need them alone."""

from __future__ import annotations

from typing import Any

import pytest

from flexkd_platform.plan import OUTPUTS, Plan, Step
from flexkd_platform.spec import METHODS

from .plans import LAYERED, OF_OUTPUTS, WRITING, Planner, needs, only


def steps(plan: Plan, kind: str) -> list[Step]:
    return [step for step in plan.shared if step.kind == kind]


def held(plan: Plan) -> set[Any]:
    return {step.config.holds for step in steps(plan, "cache")}


# --- caches ------------------------------------------------------------------------------------


def test_a_cache_is_shared_by_all_who_read_it(plan: Planner) -> None:
    found = plan()
    assert held(found) == {OUTPUTS, 5}
    for holds, readers in ((OUTPUTS, OF_OUTPUTS), (5, LAYERED)):
        caches = {
            t.distill.needs[f"cache {holds}"].hash for t in found.trials if t.method in readers
        }
        assert len(caches) == 1


def test_an_axis_over_the_score_adds_no_cache(plan: Planner) -> None:
    axis = {"sweep.axes": {"score.kind": ["gradient", "activation", "random"]}}
    assert {s.hash for s in steps(plan(axis), "cache")} == {s.hash for s in steps(plan(), "cache")}
    assert len(steps(plan(axis), "score")) == 3


@pytest.mark.parametrize("kind", OF_OUTPUTS)
def test_outputs_alone_are_cached_for_methods_of_outputs(plan: Planner, kind: str) -> None:
    found = only(plan, {"kind": kind})
    assert held(found) == {OUTPUTS}
    assert not steps(found, "score")


@pytest.mark.parametrize("kind", LAYERED)
def test_every_layer_of_a_method_has_its_cache(plan: Planner, kind: str) -> None:
    found = only(plan, {"kind": kind, "layers": "every"})
    assert held(found) == {2, 5}  # the student's 2 layers with the teacher's 3rd and 6th
    roles = {"dataset", "cache 2", "cache 5"}
    selects = {"select 2", "select 5"} if kind == "flexkd" else set()
    assert {frozenset(needs(t)) for t in found.trials} == {frozenset(roles | selects)}
    assert found.trials[0].distill.identity["layers"] == [[0, 2], [1, 5]]


def test_maps_that_come_to_the_same_pairs_are_one_trial(plan: Planner) -> None:
    maps: list[Any] = ["last", {"-1": -1}, {"1": 5}, {"1": "last"}]
    found = only(plan, *({"kind": "cka", "layers": layers} for layers in maps))
    assert len(found.trials) == 2  # seeds
    assert len(only(plan, {"kind": "cka"}, {"kind": "cka", "layers": {"0": 5}}).trials) == 4


def test_fine_tuning_needs_no_teacher(plan: Planner) -> None:
    found = only(plan, {"kind": "ft"})
    assert {frozenset(needs(t)) for t in found.trials} == {frozenset({"dataset"})}
    assert {step.kind for step in found.shared} == {"dataset", "teacher"}
    assert found.cache_numbers == 0


def test_numbers_that_the_caches_hold(plan: Planner, writing: Planner) -> None:
    """100 examples of 2 outputs, and of 32 units; of text, at most 256 rows that its head reads."""
    assert plan().cache_numbers == 100 * (2 + 32)
    assert only(plan, {"kind": "kd"}).cache_numbers == 100 * 2
    every = only(plan, {"kind": "cka", "layers": "every"})
    assert every.cache_numbers == 2 * 100 * 32
    assert writing().cache_numbers == 100 * 256 * (32 + 32)
    axis = {"sweep.axes": {"teacher.finetune.epochs": [1, 2]}}
    assert plan(axis).cache_numbers == 2 * plan().cache_numbers


# --- the live teacher --------------------------------------------------------------------------


@pytest.mark.parametrize("task", WRITING)
@pytest.mark.parametrize("kind", [*OF_OUTPUTS, *LAYERED])
def test_drawn_responses_need_the_teacher_and_no_cache(
    writing: Planner, kind: str, task: str
) -> None:
    method = {"kind": kind, "on_policy": {}, "lambda": 0}
    (trial, _) = writing(task, {"sweep.methods": [method]}).trials
    assert "teacher" in needs(trial)
    assert not any(role.startswith("cache") for role in needs(trial))
    assert trial.distill.identity["distill"]["teacher_cache"] == "off"


def test_selecting_anew_needs_the_teacher_and_no_selection(plan: Planner) -> None:
    found = plan({"score.aggregation": "batch", "score.every": 3})
    (flexkd, *_) = [t for t in found.trials if t.method == "flexkd"]
    assert needs(flexkd) == {"dataset", "teacher"}
    assert flexkd.distill.identity["reselect"] == {
        "kind": "gradient",
        "output": "predicted_logit",
        "every": 3,
    }
    assert not steps(found, "select")
    before = {t.hash for t in plan().trials if t.method != "flexkd"}
    assert {t.hash for t in found.trials if t.method != "flexkd"} == before


@pytest.mark.parametrize("task", WRITING)
def test_a_cached_teacher_of_texts_is_not_loaded_again(writing: Planner, task: str) -> None:
    """Its output head lies beside its cached outputs."""
    for trial in writing(task).trials:
        assert "teacher" not in needs(trial)
        if trial.method in OF_OUTPUTS:
            assert needs(trial) == {"dataset", f"cache {OUTPUTS}"}


# --- responses of the teacher ------------------------------------------------------------------


@pytest.mark.parametrize("task", WRITING)
def test_seqkd_trains_on_what_the_teacher_wrote(writing: Planner, task: str) -> None:
    found = writing(task)
    (generate,) = steps(found, "generate")
    readers = {t.method for t in found.trials if "generated" in t.distill.needs}
    assert readers == {"seqkd"}
    assert set(generate.needs) == {"teacher", "dataset"}
    (trial, _) = (t for t in found.trials if t.method == "seqkd")
    assert needs(trial) == {"dataset", "generated"}


def test_responses_are_named_by_how_they_are_written(writing: Planner) -> None:
    def written(**chosen: Any) -> str:
        found = writing("instruction", {"sweep.methods": [{"kind": "seqkd", **chosen}]})
        (step,) = steps(found, "generate")
        return step.hash

    ways = {written(decoding=way) for way in ("greedy", "beam", "sample")}
    assert len(ways) == 3
    assert written(decoding="sample", seed=1) not in ways
    # Only drawing has a seed.
    assert written(decoding="greedy", seed=1) == written()
    assert written(decoding="beam", seed=1) in ways


def test_a_seed_that_is_not_read_is_no_other_training(writing: Planner) -> None:
    twice: list[dict[str, Any]] = [{"kind": "seqkd"}, {"kind": "seqkd", "seed": 1}]
    assert len(writing("instruction", {"sweep.methods": twice}).trials) == 2
    drawn = [method | {"decoding": "sample"} for method in twice]
    assert len(writing("instruction", {"sweep.methods": drawn}).trials) == 4


# --- selections --------------------------------------------------------------------------------


def test_units_and_directions_are_two_selections_of_one_score(plan: Planner) -> None:
    found = only(plan, {"kind": "flexkd"}, {"kind": "flexkd", "target": "directions"})
    selects = steps(found, "select")
    assert [s.identity["target"] for s in selects] == ["units", "directions"]
    assert len({s.hash for s in selects}) == 2
    assert len({s.needs["score"].hash for s in selects}) == 1
    assert len(steps(found, "score")) == 1


@pytest.mark.parametrize("kind", METHODS)
def test_an_aligned_student_needs_a_selection_whatever_the_method(
    writing: Planner, kind: str
) -> None:
    aligned = {"student.init": {"kind": "aligned", "layers": 2, "hidden_size": 16}}
    for task, roles in (
        ("instruction", {"aligned"}),
        ("summarization", {"aligned decoder"}),
    ):
        found = writing(task, {"sweep.methods": [{"kind": kind}], **aligned})
        assert {
            frozenset(r for r in needs(t) if r.startswith("aligned")) for t in found.trials
        } == {frozenset(roles)}
        targets = {found.trials[0].distill.needs[role].identity["target"] for role in roles}
        assert targets == {"units"}


def test_an_aligned_student_moves_with_the_score(plan: Planner) -> None:
    aligned = {"kind": "aligned", "layers": 2, "hidden_size": 16}
    found = plan(
        {
            "student.init": aligned,
            "sweep.methods": [{"kind": "ft"}],
            "sweep.axes": {"score.kind": ["gradient", "random"]},
        }
    )
    assert len(found.trials) == 4


# --- starts ------------------------------------------------------------------------------------


def test_a_warm_up_is_one_step_a_seed_for_all_methods(plan: Planner) -> None:
    found = plan({"student.warm_up": {"epochs": 1}})
    warm_ups = steps(found, "warm_up")
    assert [s.identity["seed"] for s in warm_ups] == [10, 20]
    for trial in found.trials:
        (start,) = (s for s in warm_ups if s.identity["seed"] == trial.seed)
        assert trial.distill.needs["start"] is not None
        assert trial.distill.needs["start"].hash == start.hash
    # The recipe's own seed is not read, and trials of a group differ in the seed alone.
    other = plan({"student.warm_up": {"epochs": 1, "seed": 7}})
    assert [s.hash for s in steps(other, "warm_up")] == [s.hash for s in warm_ups]
    one, two = (t for t in found.trials if t.method == "kd")
    assert one.settings == two.settings


def test_a_warm_up_is_another_training(plan: Planner) -> None:
    cold, warm = plan(), plan({"student.warm_up": {"epochs": 1}})
    assert {t.hash for t in cold.trials}.isdisjoint(t.hash for t in warm.trials)
    longer = plan({"student.warm_up": {"epochs": 2}})
    assert {t.hash for t in longer.trials}.isdisjoint(t.hash for t in warm.trials)


def test_a_student_cut_from_the_finetuned_teacher_needs_it(plan: Planner) -> None:
    found = plan({"student.init.weights": "finetuned"})
    assert all("source" in needs(t) for t in found.trials)
    assert {t.distill.needs["source"].hash for t in found.trials} == {found.teachers[0].hash}


CONFIG = {"config": {"model_type": "gpt2", "n_embd": 32}, "vocab_size": 512}


def test_a_teacher_made_from_a_config_has_a_step_of_its_own(writing: Planner) -> None:
    cut = {"student.init.weights": "finetuned", "teacher.model": CONFIG}
    found = writing("instruction", cut)
    (base,) = steps(found, "base")
    assert set(base.needs) == {"dataset"}  # its tokenizer is trained on the data
    assert found.teachers[0].needs["base"] is not None
    assert found.teachers[0].needs["base"].hash == base.hash
    assert base.identity["language_model"]
    assert not steps(writing("instruction"), "base")
    for changed in ({"seed": 1}, {"vocab_size": 600}, {"config": {"model_type": "gpt2"}}):
        (other,) = steps(writing("instruction", cut | {"teacher.model": CONFIG | changed}), "base")
        assert other.hash != base.hash


def test_a_config_of_a_classifier_has_no_language_model(plan: Planner) -> None:
    made = {"teacher.model": CONFIG, "student.init": {"kind": "random", "hidden_size": 16}}
    (base,) = steps(plan(made), "base")
    assert not base.identity["language_model"]
    # A random student takes the tokenizer of its teacher's.
    assert all(t.distill.needs["base"].hash == base.hash for t in plan(made).trials)


# --- measuring ---------------------------------------------------------------------------------


def test_evaluation_sets_are_read_by_evaluations_alone(writing: Planner) -> None:
    sets = {
        "self-inst": {"source": "files", "path": "a.jsonl"},
        "vicuna": {"source": "files", "path": "b.jsonl"},
    }
    with_sets = writing("instruction", {"task.evaluation": sets})
    without = writing("instruction")
    assert len(steps(with_sets, "dataset")) == len(steps(without, "dataset")) + 2
    assert {t.distill.hash for t in with_sets.trials} == {t.distill.hash for t in without.trials}
    roles = {"student", "dataset", "set self-inst", "set vicuna"}
    assert all(set(t.evaluate.needs) == roles for t in with_sets.trials)
    others = [step for step in with_sets.shared if step.kind not in {"dataset", "evaluate"}]
    assert all(step.hash in {s.hash for s in without.shared} for step in others)


def test_teachers_that_write_are_measured_apart(plan: Planner, writing: Planner) -> None:
    assert plan().teacher_evaluations == ()
    for task in WRITING:
        found = writing(task)
        (evaluation,) = found.teacher_evaluations
        assert evaluation.needs["student"].hash == found.teachers[0].hash
        assert evaluation.hash in {step.hash for step in found.shared}
        assert evaluation.identity == found.trials[0].evaluate.identity


@pytest.mark.parametrize("task", WRITING)
def test_how_texts_are_decoded_decides_the_evaluation_alone(writing: Planner, task: str) -> None:
    before = writing(task)
    for change in (
        {"evaluate.decoding": {"kind": "greedy"}},
        {"evaluate.max_new_tokens": 7},
        {"evaluate.protocol": "minillm"},
    ):
        after = writing(task, change)
        assert [t.hash for t in after.trials] == [t.hash for t in before.trials]
        assert {t.evaluate.hash for t in after.trials}.isdisjoint(
            t.evaluate.hash for t in before.trials
        )


def test_bertscores_model_counts_where_bertscore_does(writing: Planner) -> None:
    def evaluations(**changes: Any) -> set[str]:
        named = {f"evaluate.{name}": value for name, value in changes.items()}
        return {t.evaluate.hash for t in writing("instruction", named).trials}

    assert evaluations(bertscore_model="a/b") == evaluations()
    asked = evaluations(metrics=["bertscore"])
    assert evaluations(metrics=["bertscore"], bertscore_model="a/b").isdisjoint(asked)
