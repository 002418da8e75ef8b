"""Drawn points: the same ones always, of the settings that matter, each with every seed."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from flexkd_platform.plan import Facts, FactsOf, Plan, Trial
from flexkd_platform.search import build_plan, refused_text
from flexkd_platform.search.rounds import Asked, Rounds
from flexkd_platform.search.space import method_spaces
from flexkd_platform.spec import JobSpec, Problem, SpecError, spec_with

from ..plan.conftest import Planner

ALPHA = "sweep.methods[1].alpha"
BASE: dict[str, Any] = {
    "sweep.methods": [{"kind": "ft"}, {"kind": "flexkd"}],
    "sweep.search": {"kind": "random", "samples": 5},
    "sweep.space": {ALPHA: {"log_uniform": [0.01, 1]}},
}
OPTUNA: dict[str, Any] = BASE | {"sweep.search": {"kind": "optuna", "samples": 7, "batch": 3}}


def of(plan: Plan, method: str) -> list[Trial]:
    return [trial for trial in plan.trials if trial.method == method]


def values(plan: Plan, method: str, name: str) -> list[Any]:
    """The values that a method's trials have, each once, in the order of the plan."""
    return list(dict.fromkeys(trial.params.get(name) for trial in of(plan, method)))


# --- at random ---------------------------------------------------------------------------------


def test_every_point_runs_with_all_seeds_and_what_is_not_searched_once(plan: Planner) -> None:
    made = plan(BASE)
    assert made.search is None, "all trials are known"
    alphas = Counter(trial.params["alpha"] for trial in of(made, "flexkd"))
    assert len(alphas) == 5
    assert set(alphas.values()) == {2}
    assert {(t.params["alpha"], t.seed) for t in of(made, "flexkd")} == {
        (alpha, seed) for alpha in alphas for seed in (10, 20)
    }
    assert len(of(made, "ft")) == 2


def test_draws_are_decided_by_the_seed_and_more_samples_keep_the_first(plan: Planner) -> None:
    five, again = plan(BASE), plan(BASE)
    assert [t.hash for t in five.trials] == [t.hash for t in again.trials]
    more = plan(BASE | {"sweep.search": {"kind": "random", "samples": 9}})
    assert {t.hash for t in five.trials} < {t.hash for t in more.trials}
    other = plan(BASE | {"sweep.search": {"kind": "random", "samples": 5, "seed": 1}})
    assert not {t.hash for t in of(five, "flexkd")} & {t.hash for t in of(other, "flexkd")}


def test_drawn_values_are_those_of_their_distribution(plan: Planner) -> None:
    """Of 200 draws, a share outside ±5 standard deviations: false alarm 6e-7 a distribution."""
    space = {
        ALPHA: {"log_uniform": [0.01, 1]},
        "sweep.methods[1].beta": {"uniform": [0.5, 1]},
        "sweep.methods[1].logit.top_k": {"int_uniform": [1, 2]},
        "sweep.methods[1].loss": {"choice": ["correlation", "mse", "cosine"]},
    }
    search = {"kind": "random", "samples": 200}
    made = plan(BASE | {"sweep.space": space, "sweep.search": search, "sweep.seeds": [1]})
    found = [trial.distill.identity["method"] for trial in of(made, "flexkd")]
    assert len(found) == 200
    for name, low, middle, high in (("alpha", 0.01, 0.1, 1), ("beta", 0.5, 0.75, 1)):
        drawn = [method[name] for method in found]
        assert all(low <= value <= high for value in drawn)
        assert all(value == float(f"{value:.4g}") for value in drawn), "few digits"
        below = sum(value < middle for value in drawn)
        assert abs(below - 100) < 5 * math.sqrt(50)
    tops = Counter(method["logit"]["top_k"] for method in found)
    assert tops.keys() == {1, 2}
    assert abs(tops[1] - 100) < 5 * math.sqrt(50)
    losses = Counter(method["loss"] for method in found)
    assert losses.keys() == {"correlation", "mse", "cosine"}
    assert all(abs(n - 200 / 3) < 5 * math.sqrt(200 * 2 / 9) for n in losses.values())


def test_methods_that_share_an_axis_get_the_same_values_of_it(plan: Planner) -> None:
    """So that each has a baseline at every one of them."""
    space = BASE["sweep.space"] | {"distill.learning_rate": {"log_uniform": [1e-5, 1e-2]}}
    made = plan(BASE | {"sweep.space": space})
    rates = values(made, "ft", "distill.learning_rate")
    assert len(rates) == 5
    assert values(made, "flexkd", "distill.learning_rate") == rates


def test_an_axis_that_does_not_touch_a_method_does_not_search_it(plan: Planner) -> None:
    made = plan(
        BASE
        | {"sweep.space": {"score.seed": {"int_uniform": [1, 1000]}}, "score": {"kind": "random"}}
    )
    assert len(of(made, "ft")) == 2
    assert of(made, "ft")[0].params == {}
    assert len(values(made, "flexkd", "score.seed")) == 5
    scores = [step for step in made.shared if step.kind == "score"]
    assert len(scores) == 5, "the steps that trials share are planned"


def test_a_list_is_a_choice_of_what_is_searched_and_an_axis_of_the_rest(plan: Planner) -> None:
    rates = [1e-4, 1e-3, 1e-2]
    made = plan(BASE | {"sweep.axes": {"distill.learning_rate": rates}})
    assert values(made, "ft", "distill.learning_rate") == rates
    assert len({t.distill.hash for t in of(made, "flexkd")}) == 2 * 5
    assert set(values(made, "flexkd", "distill.learning_rate")) <= set(rates)


GATED: list[dict[str, Any]] = [
    # reduction is read where the loss is correlation, the loss where alpha is more than 0
    {"reduction": ["sum", "mean"], "loss": ["correlation", "mse"]},
    {"loss": ["correlation", "mse"], "alpha": [0.5, 0.0]},
    {"reduction": ["sum", "mean"], "loss": ["correlation", "mse"], "alpha": [0.5, 0.0]},
]


@pytest.mark.parametrize("settings", GATED, ids=lambda settings: "-".join(settings))
def test_settings_are_searched_whatever_the_order_of_their_values(
    settings: dict[str, list[Any]], spec: JobSpec, facts_of: FactsOf
) -> None:
    """A setting that is not read beside some values of another one is searched all the same."""
    for turned in itertools.product([1, -1], repeat=len(settings)):
        for names in (list(settings), list(settings)[::-1]):
            steps = dict(zip(settings, turned, strict=True))
            space = {
                f"sweep.methods[1].{name}": {"choice": settings[name][:: steps[name]]}
                for name in names
            }
            changed = spec_with(spec, BASE | {"sweep.space": space})
            (found,) = method_spaces(changed, facts_of).values()
            assert list(found) == list(space)


def test_two_axes_that_matter_together_alone_are_searched(spec: JobSpec, facts_of: FactsOf) -> None:
    """At layers {1: 5} the scored layer decides nothing of cka, and at layer 5 `last` is the same;
    but the last layer with 2 is another training.
    """
    changes = {
        "sweep.methods": [{"kind": "ft"}, {"kind": "cka"}],
        "sweep.space": {
            "sweep.methods[1].layers": {"choice": ["last", {"1": 5}]},
            "score.layer": {"choice": [2, 5]},
        },
    }
    spaces = method_spaces(spec_with(spec, BASE | changes), facts_of)
    assert set(spaces) == {1}, "fine-tuning reads neither"
    assert set(spaces[1]) == set(changes["sweep.space"])


# --- points that are not allowed ---------------------------------------------------------------

WEIGHTS = {
    ALPHA: {"choice": [0.5, 0.0, 1.0]},
    "sweep.methods[1].lambda": {"choice": [0.5, 0.0, 1.0]},
}
"""Without both weights nothing is left of Flex-KD, whose beta is 0."""


def weights(point: Mapping[str, Any]) -> list[float]:
    return [float(point[path]) for path in WEIGHTS]


def test_a_random_point_that_is_not_allowed_is_left_out(plan: Planner) -> None:
    search = {"kind": "random", "samples": 40}
    made = plan(BASE | {"sweep.space": WEIGHTS, "sweep.search": search})
    assert made.refused, "of 40 points in 9 places, one in 100 searches has none"
    assert all(weights(one.point) == [0, 0] for one in made.refused)
    assert {one.reason for one in made.refused} == {"sweep.methods[1]: every weight is 0"}
    assert len({trial.distill.hash for trial in of(made, "flexkd")}) == 2 * 8
    fewer = plan(BASE | {"sweep.space": WEIGHTS, "sweep.search": search | {"samples": 39}})
    assert list(made.refused)[: len(fewer.refused)] == list(fewer.refused)
    text = refused_text(made.refused)
    assert text.startswith(f"{len(made.refused)} sampled point")
    assert "flexkd with alpha=0.0, lambda=0.0: sweep.methods[1]: every weight is 0" in text


def test_a_width_between_the_edges_that_does_not_divide_is_left_out(
    plan: Planner, facts_of: FactsOf
) -> None:
    """The world refuses points too: here a width that does not divide into 12 heads."""

    def known(spec: JobSpec) -> Facts:
        width = spec.student.init.to_json()["hidden_size"]
        if width % 12:
            message = f"a width of {width} is not a whole number of heads"
            raise SpecError([Problem("student.init.hidden_size", message, "a multiple of 12")])
        return facts_of(spec)

    widths = {"sweep.space": {"student.init.hidden_size": {"int_uniform": [96, 384]}}}
    search = {"sweep.search": {"kind": "random", "samples": 100}}
    made = plan(BASE | widths | search, known)
    assert len(made.refused) > 100, "both methods are searched, and 1 width in 12 is right"
    drawn = [one.point["student.init.hidden_size"] for one in made.refused]
    assert all(width % 12 for width in drawn)
    kept = {t.distill.identity["student"]["init"]["hidden_size"] for t in made.trials}
    assert kept
    assert not any(width % 12 for width in kept)


@pytest.mark.parametrize("kind", ["random", "optuna"])
def test_a_search_without_an_allowed_point_is_a_problem(kind: str, plan: Planner) -> None:
    nothing = {
        ALPHA: {"choice": [0.0]},
        "sweep.methods[1].lambda": {"choice": [0.0]},
        "distill.learning_rate": {"uniform": [0.1, 0.2]},
    }
    search = {"kind": kind, "samples": 6}
    with pytest.raises(SpecError) as caught:
        plan(BASE | {"sweep.space": nothing, "sweep.search": search})
    (problem,) = caught.value.problems
    assert problem.path == "sweep.methods[1]"
    assert problem.message.startswith("none of the 6 sampled points of flexkd is valid; with ")
    assert "every weight is 0" in problem.message
    assert problem.remedy == (
        "give one of alpha, beta, lambda more than 0; or sample more points: sweep.search.samples"
    )


def test_optuna_goes_on_past_points_that_are_not_allowed(spec: JobSpec, facts_of: FactsOf) -> None:
    search = {"kind": "optuna", "samples": 40, "batch": 2}
    changed = spec_with(spec, BASE | {"sweep.space": WEIGHTS, "sweep.search": search})

    def value(asked: Asked) -> float:
        return -sum(weights(asked.point))  # the best point is the one that is not allowed

    found, whole = rounds_of(changed, facts_of, value)
    again, same = rounds_of(changed, facts_of, value)
    assert found == again
    assert whole.refused == same.refused != ()
    assert all(weights(one.point) == [0, 0] for one in whole.refused)
    assert sum(map(len, found)) + len(whole.refused) == 40
    assert all(0 < len(each) <= 2 for each in found), "a round without a point would be the end"


# --- by Optuna ---------------------------------------------------------------------------------


def rounds_of(spec: JobSpec, facts_of: FactsOf, value: Any) -> tuple[list[list[Asked]], Plan]:
    """All rounds, told what `value` makes of a point."""
    plan = build_plan(spec, facts_of)
    assert plan.search is not None
    rounds = Rounds(plan.search)
    found = []
    while asked := rounds.ask():
        found.append(list(asked))
        rounds.tell([(one, value(one)) for one in asked])
    return found, rounds.plan()


@pytest.fixture
def searched(spec: JobSpec) -> JobSpec:
    return spec_with(spec, OPTUNA)


def test_the_first_round_is_planned_and_the_rest_is_counted(
    searched: JobSpec, facts_of: FactsOf
) -> None:
    plan = build_plan(searched, facts_of)
    assert plan.search is not None
    assert len(of(plan, "ft")) == 2
    assert len(of(plan, "flexkd")) == 3 * 2
    assert {"score", "select", "cache"} <= {step.kind for step in plan.shared}
    assert (plan.search.points, plan.most_trials) == (7, 2 + 7 * 2)
    found, whole = rounds_of(searched, facts_of, lambda asked: 0.5)
    assert [len(round_) for round_ in found] == [3, 3, 1]
    assert [t.hash for t in whole.trials[: len(plan.trials)]] == [t.hash for t in plan.trials]
    assert len(whole.trials) == plan.most_trials


def test_the_same_results_give_the_same_points(searched: JobSpec, facts_of: FactsOf) -> None:
    def value(asked: Asked) -> float:
        return float(asked.point[ALPHA])

    first, second = (rounds_of(searched, facts_of, value)[0] for _ in range(2))
    assert first == second


def test_suggestions_follow_what_is_told(spec: JobSpec, facts_of: FactsOf) -> None:
    """TPE's points after its 10 random ones lie where it was told that points are good."""
    search = {"kind": "optuna", "samples": 40, "batch": 5}
    space = {ALPHA: {"uniform": [0, 1]}}
    many = spec_with(spec, OPTUNA | {"sweep.search": search, "sweep.space": space})
    medians = []
    for target in (0.1, 0.9):

        def value(asked: Asked, target: float = target) -> float:
            return -abs(float(asked.point[ALPHA]) - target)

        points = [one.point[ALPHA] for each in rounds_of(many, facts_of, value)[0] for one in each]
        medians.append(statistics.median(points[10:]))
    assert medians[0] < 0.3 < 0.7 < medians[1]


def test_points_without_a_value_do_not_end_the_search(searched: JobSpec, facts_of: FactsOf) -> None:
    told = {0: "failed", 1: "pruned", 2: 0.5}
    found, _ = rounds_of(searched, facts_of, lambda asked: told[asked.number % 3])
    assert sum(map(len, found)) == 7


def test_each_method_is_searched_by_itself(spec: JobSpec, facts_of: FactsOf) -> None:
    changes = OPTUNA | {"sweep.space": {"distill.learning_rate": {"log_uniform": [1e-5, 1e-2]}}}
    changed = spec_with(spec, changes)
    assert set(method_spaces(changed, facts_of)) == {0, 1}
    found, plan = rounds_of(changed, facts_of, lambda asked: 0.5)
    assert Counter(one.place for one in found[0]) == {0: 3, 1: 3}
    assert len(of(plan, "ft")) == len(of(plan, "flexkd")) == 7 * 2


def test_a_searched_setting_may_change_what_trials_share(spec: JobSpec, facts_of: FactsOf) -> None:
    """The teachers of later rounds are in the plans of those rounds."""
    changes = OPTUNA | {"sweep.space": {"teacher.finetune.epochs": {"uniform": [1, 2]}}}
    found, plan = rounds_of(spec_with(spec, changes), facts_of, lambda asked: 0.5)
    assert len([step for step in plan.shared if step.kind == "teacher"]) >= 7
    assert {place for each in found for place in {one.place for one in each}} == {1}
