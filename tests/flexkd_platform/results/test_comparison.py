"""Groups are seeds of one setting, and nothing else; baselines differ in the method alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_core.statistics import compare, corrected, summarise
from flexkd_platform.results.comparison import Group, group_trials, to_json
from flexkd_platform.spec import TASK_KINDS, is_lower_better
from flexkd_platform.tracking import TrialRecord, TrialStatus

ACCURACY = "test/accuracy"


def trial(
    method: str,
    seed: int,
    value: float,
    *,
    alpha: float | None = None,
    status: TrialStatus = "done",
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    **surroundings: Any,
) -> TrialRecord:
    """A trial as planning makes it: the method's settings, and others by `section__name`."""
    weights: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
    others = {path.replace("__", "."): value for path, value in surroundings.items()}
    settings = {
        "method.kind": method,
        "distill.learning_rate": 3e-4,
        **{f"method.{name}": weight for name, weight in weights.items()},
        **others,
    }
    return TrialRecord(
        hash=f"{method} {sorted(settings.items())} {seed}",
        method=method,
        params=weights if params is None else params,
        settings=settings,
        seed=seed,
        status=status,
        metrics={ACCURACY: value} if metrics is None else metrics,
        seconds=1.0,
    )


def grouped(trials: list[TrialRecord], baseline: str | None = "ft") -> list[Group]:
    return group_trials(trials, baseline=baseline, metrics=[ACCURACY])


FT = [trial("ft", seed, value) for seed, value in [(10, 0.70), (20, 0.72), (30, 0.71)]]
FLEX = [
    trial("flexkd", seed, value, alpha=0.5, score__kind="gradient")
    for seed, value in [(10, 0.75), (20, 0.78), (30, 0.74)]
]


@given(st.permutations([*FT, *FLEX, trial("kd", 10, 0.7)]))
def test_the_order_of_trials_does_not_matter(trials: list[TrialRecord]) -> None:
    assert grouped(trials) == grouped([*FT, *FLEX, trial("kd", 10, 0.7)])


@given(st.lists(st.sampled_from([*FT, *FLEX]), min_size=1))
def test_every_trial_counts_once_in_one_group(trials: list[TrialRecord]) -> None:
    groups = grouped(trials)
    assert sum(group.n for group in groups) == len({one.hash for one in trials})
    for group in groups:
        assert group.n == len(group.seeds) == len(set(group.seeds))
        assert group.metrics[ACCURACY].n == group.n


def test_statistics_are_those_of_the_core() -> None:
    first, second = grouped([*FT, *FLEX])
    assert (first.method, second.method) == ("flexkd", "ft")
    assert first.seeds == (10, 20, 30)
    assert first.metrics[ACCURACY] == summarise([0.75, 0.78, 0.74])
    (expected,) = corrected(
        [compare({10: 0.75, 20: 0.78, 30: 0.74}, {10: 0.70, 20: 0.72, 30: 0.71})]
    )
    assert first.versus == {ACCURACY: expected}
    assert second.versus is None


def test_failed_and_pruned_trials_are_in_no_mean() -> None:
    extra = [
        trial("ft", 40, 0.1, status="failed"),
        trial("ft", 50, 0.2, status="pruned"),
        trial("kd", 10, 0.3, status="failed"),
    ]
    (group,) = grouped([*FT, *extra])
    assert group == replace(grouped(FT)[0], pruned=1, failed=1)
    assert (to_json(group)["pruned"], to_json(group)["failed"]) == (1, 1)


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_a_group_with_seeds_that_did_not_finish_comes_after_the_complete_ones(
    status: TrialStatus,
) -> None:
    """Its seeds that finished were the good ones: their mean is no estimate of the setting's."""
    better = [trial("kd", 10, 0.95), trial("kd", 20, 0.1, status=status)]
    first, second = grouped([*FT, *better])
    assert (first.method, second.method) == ("ft", "kd")
    assert (second.n, second.metrics["test/accuracy"].mean) == (1, 0.95)
    assert (second.pruned, second.failed) == ((1, 0) if status == "pruned" else (0, 1))
    assert second.versus is not None
    assert second.versus["test/accuracy"].n == 1, "paired over the seeds that both finished"


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_a_seed_that_finished_elsewhere_is_not_missing(status: TrialStatus) -> None:
    both = [trial("ft", 10, 0.2, status=status), trial("ft", 10, 0.7)]
    (group,) = grouped(both)
    assert (group.n, group.pruned, group.failed) == (1, 0, 0)


def test_a_seed_that_was_pruned_here_and_failed_there_is_missing_once() -> None:
    lost = [trial("ft", 40, 0.2, status=status) for status in ("failed", "pruned")]  # type: ignore[arg-type]
    (group,) = grouped([*FT, *lost])
    assert (group.n, group.pruned, group.failed) == (3, 1, 0)


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_a_baseline_that_finished_elsewhere_is_still_the_opponent(status: TrialStatus) -> None:
    """As after a search with a scheduler, of which the comparison is made without."""
    good = [trial("kd", seed, 0.9, alpha=0.5) for seed in (10, 20)]
    bad = [trial("kd", seed, 0.6, alpha=0.1) for seed in (10, 20)]
    ours = [trial("flexkd", seed, 0.8) for seed in (10, 20)]
    stale = trial("kd", 10, 0.2, alpha=0.5, status=status)
    groups = {g.method: g for g in grouped([stale, *good, *bad, *ours], baseline="kd")}
    versus = groups["flexkd"].versus
    assert versus is not None
    assert versus[ACCURACY].mean == pytest.approx(-0.1)


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_an_incomplete_baseline_is_no_opponent_where_there_is_a_complete_one(
    status: TrialStatus,
) -> None:
    lucky = [trial("kd", 10, 0.9, alpha=0.5), trial("kd", 20, 0.0, alpha=0.5, status=status)]
    whole = [trial("kd", seed, 0.6, alpha=0.1) for seed in (10, 20)]
    ours = [trial("flexkd", seed, 0.8) for seed in (10, 20)]
    groups = {g.method: g for g in grouped([*lucky, *whole, *ours], baseline="kd")}
    versus = groups["flexkd"].versus
    assert versus is not None
    assert versus[ACCURACY].mean == pytest.approx(0.2)


def test_reused_trials_count_like_those_that_were_run() -> None:
    reused = [trial("ft", one.seed, one.metrics[ACCURACY], status="reused") for one in FT]
    assert grouped(reused) == grouped([*FT, *reused]) == grouped(FT)


def test_only_shared_seeds_are_paired() -> None:
    flex = [trial("flexkd", 20, 0.78, alpha=0.5), trial("flexkd", 99, 0.9, alpha=0.5)]
    group = grouped([*FT, *flex])[0]
    assert group.n == 2
    assert group.versus is not None
    assert group.versus[ACCURACY].n == 1
    assert group.versus[ACCURACY].mean == pytest.approx(0.06)


def test_without_a_shared_seed_there_is_no_comparison() -> None:
    group = grouped([*FT, trial("flexkd", 99, 0.9, alpha=0.5)])[0]
    assert (group.method, group.versus) == ("flexkd", None)


def test_the_opponent_has_the_same_settings_apart_from_the_method() -> None:
    slow: dict[str, Any] = {"distill__learning_rate": 1e-5}
    trials = [
        *FT,
        trial("ft", 10, 0.60, **slow),
        trial("kd", 10, 0.65, beta=0.5, **slow),
        trial("cka", 10, 0.9, distill__learning_rate=1e-2),
    ]
    by_method = {group.method: group for group in grouped(trials) if group.method != "ft"}
    assert by_method["kd"].versus is not None
    assert by_method["kd"].versus[ACCURACY].mean == pytest.approx(0.05)
    assert by_method["cka"].versus is None


def test_settings_that_one_of_them_does_not_depend_on_do_not_count() -> None:
    flex = trial("flexkd", 10, 0.8, alpha=0.5, score__kind="random", teacher__finetune=None)
    assert grouped([*FT, flex])[0].versus is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"rows__labels": 200, "rows__unlabelled": 2200},
        {"distill__precision": "bf16"},
        {"distill__batches": "random"},
    ],
)
def test_a_setting_of_every_training_is_compared_even_if_omitted_at_its_default(
    changed: dict[str, Any],
) -> None:
    """Settings at their default are not recorded: few labels meet few labels, and all meet all."""
    values = {"ft": (0.6, 0.9), "kd": (0.7, 0.8)}
    trials = [
        trial(method, 10, value, **given)
        for method, pair in values.items()
        for value, given in zip(pair, (changed, {}), strict=True)
    ]
    differences = [
        group.versus[ACCURACY].mean for group in grouped(trials) if group.versus is not None
    ]
    assert sorted(differences) == pytest.approx([-0.1, 0.1])
    alone = grouped([trials[1], trials[2]])  # all labels, and few
    assert [group.versus for group in alone] == [None, None]


def test_what_methods_read_of_the_teacher_is_no_other_setting() -> None:
    """Caches, layers and a live teacher are how a method works, as its own settings are."""
    shared: dict[str, Any] = {"teacher__finetune": None, "cache__dtype": "float32"}
    kd = trial(
        "kd", 10, 0.7, layers=[], cache__holds="outputs", distill__teacher_cache="auto", **shared
    )
    others = [
        trial("cka", 10, 0.8, layers=[[1, 5]], cache__holds=5, **shared),
        trial("minillm", 10, 0.8, layers=[], distill__teacher_cache="off", **shared),
        trial("flexkd", 10, 0.8, reselect__kind="gradient", reselect__every=3, **shared),
        trial("flexkd", 20, 0.8, select__target="directions", select__count=8, **shared),
    ]
    for other in others:
        baseline = trial("kd", other.seed, 0.7, select__target="units", **shared)
        group = grouped([kd, baseline, other], baseline="kd")[0]
        assert group.method == other.method
        assert group.versus is not None
        assert group.versus[ACCURACY].mean == pytest.approx(0.1)
    # A layer of the student's cut is a setting like any other.
    cut = trial("flexkd", 10, 0.8, student__init__layers=2, **shared)
    deep = trial("kd", 10, 0.7, student__init__layers=3, **shared)
    assert grouped([deep, cut], baseline="kd")[0].versus is None


@pytest.mark.parametrize("metric", ["mse", "nll"])
def test_less_of_a_loss_is_better(metric: str) -> None:
    name = f"test/{metric}"
    worse = [trial("kd", 10, 0.0, metrics={name: 3.0}, alpha=alpha) for alpha in (0.1, 0.9)]
    worst = trial("cka", 10, 0.0, metrics={name: 4.0})
    best = trial("flexkd", 10, 0.0, metrics={name: 1.0})
    worse[1] = replace(worse[1], metrics={name: 2.0})
    groups = group_trials([worst, *worse, best], baseline="kd", metrics=[name])
    assert [group.metrics[name].mean for group in groups] == [1.0, 2.0, 3.0, 4.0]
    assert groups[0].versus is not None
    assert groups[0].versus[name].mean == -1.0  # the better of the two baselines


def test_a_branch_contradicts_a_leaf() -> None:
    kd = trial("kd", 10, 0.7, teacher__finetune=None)
    flex = trial("flexkd", 10, 0.8, alpha=0.5, teacher__finetune__epochs=1)
    assert all(group.versus is None for group in grouped([kd, flex], baseline="kd"))


def test_of_several_baselines_the_best_is_the_opponent() -> None:
    baselines = [trial("kd", 10, 0.60, alpha=0.1), trial("kd", 10, 0.70, alpha=0.9)]
    group = grouped([*baselines, trial("flexkd", 10, 0.8)], baseline="kd")[0]
    assert group.versus is not None
    assert group.versus[ACCURACY].mean == pytest.approx(0.1)


def test_without_a_baseline_nothing_is_compared() -> None:
    assert all(group.versus is None for group in grouped([*FT, *FLEX], baseline=None))


def test_best_first_and_less_is_better_for_errors() -> None:
    metrics = [{"test/mse": e, "test/pearson": e} for e in (0.3, 0.1, 0.2)]
    trials = [trial("ft", 1, 0, alpha=i, metrics=m) for i, m in enumerate(metrics)]
    by_error = group_trials(trials, baseline=None, metrics=["test/mse", "test/pearson"])
    by_correlation = group_trials(trials, baseline=None, metrics=["test/pearson"])
    assert [group.params["alpha"] for group in by_error] == [1, 2, 0]
    assert [group.params["alpha"] for group in by_correlation] == [0, 2, 1]


def test_every_metric_of_the_tasks_but_losses_is_better_when_higher() -> None:
    known = {metric for kind in TASK_KINDS.values() for metric in kind.metrics}
    assert {metric for metric in known if is_lower_better(metric)} == {"hamming_loss", "mse", "nll"}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_seed_that_diverged_leaves_no_mean_of_the_others(value: float) -> None:
    groups = grouped(
        [*FT, *FLEX[:2], trial("flexkd", 30, value, alpha=0.5, score__kind="gradient")]
    )
    assert [group.method for group in groups] == ["ft", "flexkd"]
    assert groups[1].n == 3
    assert groups[1].metrics == {}
    assert groups[1].versus == {}


def test_groups_of_several_jobs_that_look_the_same_are_told_apart() -> None:
    mine = trial("flexkd", 10, 0.7, alpha=0.5, distill__epochs=1, task="classification")
    theirs = trial("flexkd", 10, 0.8, alpha=0.5, distill__epochs=2, task="classification")
    other = trial("ft", 10, 0.6, distill__epochs=1)
    groups = grouped([mine, theirs, other])
    assert [dict(group.params) for group in groups] == [
        {"alpha": 0.5, "distill.epochs": 2},
        {"alpha": 0.5, "distill.epochs": 1},
        {},
    ]


def test_nothing_is_added_where_params_tell_groups_apart() -> None:
    trials = [trial("flexkd", 10, alpha, alpha=alpha) for alpha in (0.05, 0.5)]
    assert [group.params for group in grouped(trials)] == [{"alpha": 0.5}, {"alpha": 0.05}]


def test_params_of_all_trials_of_a_group_are_shown() -> None:
    plain = trial("ft", 10, 0.7, params={})
    from_a_sweep = trial("ft", 20, 0.7, params={"distill.learning_rate": 3e-4})
    (group,) = grouped([plain, from_a_sweep])
    assert group.n == 2
    assert group.params == {"distill.learning_rate": 3e-4}


def test_json_has_the_form_of_results_json() -> None:
    first, second = (to_json(group) for group in grouped([*FT[:2], *FLEX[:1]]))
    assert list(first) == ["method", "params", "n", "pruned", "failed", "metrics", "versus"]
    assert first["params"] == {"alpha": 0.5}
    assert first["metrics"] == {
        ACCURACY: {"mean": 0.75, "std": None, "ci95": None, "interval": None, "noise": "seeds"}
    }
    assert list(first["versus"][ACCURACY]) == [
        *("n", "mean", "std", "ci95", "p_t", "p_wilcoxon", "effect_size", "interval", "noise"),
        *("p", "p_holm", "comparisons", "verdict", "p_examples", "examples_test"),
    ]
    assert second["versus"] is None
    low, high = second["metrics"][ACCURACY]["ci95"]
    assert low < 0.71 < high
    json.dumps([first, second], allow_nan=False)


def test_comparisons_are_corrected_for_all_groups() -> None:
    kd = [trial("kd", seed, value) for seed, value in [(10, 0.70), (20, 0.74), (30, 0.73)]]
    alone, among = grouped([*FT, *FLEX]), grouped([*FT, *FLEX, *kd])
    for groups, number in ((alone, 1), (among, 2)):
        found = [group.versus[ACCURACY] for group in groups if group.versus]
        assert [each.comparisons for each in found] == [number] * number
    first = among[0].versus
    assert first is not None
    assert first[ACCURACY].p_holm == pytest.approx(2 * (first[ACCURACY].p or 0))


def test_stochastic_order_is_computed_from_five_seeds_on_in_the_better_direction() -> None:
    errors = "test/mse"
    values = {"ft": 0.7, "kd": 0.5, "cka": 0.9}
    trials = [
        trial(method, seed, 0, metrics={errors: value + seed / 1000})
        for method, value in values.items()
        for seed in (range(4) if method == "cka" else range(5))
    ]
    groups = group_trials(trials, baseline="ft", metrics=[errors], stochastic_order=True)
    found = {group.method: group.versus[errors] for group in groups if group.versus}
    assert found["kd"].stochastic_order == 0, "lower errors are better"
    assert found["cka"].stochastic_order is None
    assert "stochastic_order" not in to_json(groups[-1])["versus"][errors]


def test_no_trials_make_no_groups() -> None:
    assert grouped([]) == []
