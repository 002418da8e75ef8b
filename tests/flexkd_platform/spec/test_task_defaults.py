"""Defaults of methods that depend on the task or on the sweep, filled in when a spec is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flexkd_platform.spec import METHODS, FeatureMethod, JobSpec, json_schema, spec_with
from flexkd_platform.spec.methods.logit import Jsd

Load = Callable[..., JobSpec]

FEATURES = [name for name, method in METHODS.items() if issubclass(method, FeatureMethod)]
PAPER = {"instruction": (1.0, 0.0), "summarization": (1.0, 1.0)}
"""β and λ."""


def spec_text(methods: str, task: str = "classification", search: str = "") -> str:
    return f"{{name: a, task: {{kind: {task}}}, sweep: {{{search} methods: [{methods}]}}}}"


# --- weights of text tasks ---------------------------------------------------------------------


@pytest.mark.parametrize("task", PAPER)
@pytest.mark.parametrize("kind", FEATURES)
def test_text_tasks_default_to_the_papers_weights(load: Load, kind: str, task: str) -> None:
    (method,) = load(spec_text(f"{{kind: {kind}}}", task)).sweep.methods
    alpha = 0.05 if kind == "flexkd" else 1.0
    weights = method.weights
    assert (weights.feature, weights.logit, weights.supervised) == (alpha, *PAPER[task])
    # The resolved spec, the identity and the labels say them.
    named = {"alpha": alpha, "beta": PAPER[task][0], "lambda": PAPER[task][1]}
    identity: dict[str, Any] = method.identity(task)
    assert {name: method.to_json()[name] for name in named} == named
    assert {name: identity[name] for name in named} == named
    usual = {"beta": 0.0, "lambda": 0.5}
    shown = {n: v for n, v in named.items() if n == "alpha" or v != usual[n]}
    assert {n: v for n, v in method.params().items() if n in named} == shown


@pytest.mark.parametrize("given", ["alpha", "beta", "lambda"])
def test_a_given_weight_is_kept_and_the_others_are_filled(load: Load, given: str) -> None:
    (method,) = load(spec_text(f"{{kind: flexkd, {given}: 0.3}}", "summarization")).sweep.methods
    expected = {"alpha": 0.05, "beta": 1.0, "lambda": 1.0} | {given: 0.3}
    assert {name: method.to_json()[name] for name in expected} == expected


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", FEATURES)
def test_labelled_tasks_keep_their_weights(load: Load, kind: str, task: str) -> None:
    (method,) = load(spec_text(f"{{kind: {kind}}}", task)).sweep.methods
    weights = method.weights
    assert (weights.feature, weights.logit, weights.supervised) == (0.5, 0.0, 0.5)


def test_a_spec_that_is_read_again_stays_the_same(load: Load) -> None:
    spec = load(spec_text("{kind: flexkd}, {kind: jsd, mixture: [0.1, 0.9]}", "instruction"))
    assert load(json.dumps(spec.to_json())).hash == spec.hash
    assert spec_with(spec, {}).hash == spec.hash


def test_the_schema_says_which_defaults_the_task_decides() -> None:
    for name in FEATURES:
        fields = json_schema()["$defs"][METHODS[name].__name__]["properties"]
        for weight in ("alpha", "beta"):
            assert "text tasks" in fields[weight]["description"]
        assert "1 for summarization, 0 for instruction" in fields["lambda"]["description"]


# --- scaled divergences ------------------------------------------------------------------------

SEARCH = "search: {kind: random, samples: 2},"
SWEPT = [
    ("{kind: jsd, mixture: [0.1, 0.9]}", ""),
    ("{kind: jsd, mixture: [0.1, 0.9]}", SEARCH),
    ("{kind: jsd, mixture: {uniform: [0.1, 0.9]}}", SEARCH),
    ("{kind: jsd, mixture: {choice: [0.1, 0.9]}}", SEARCH),
    ("{kind: cka, beta: 1, logit: {kind: jsd, beta: {uniform: [0.1, 0.9]}}}", SEARCH),
    ("{kind: cka, beta: 1, logit: [{kind: jsd, beta: 0.1}, {kind: jsd}]}", ""),
]
SINGLE = [
    "{kind: jsd}",
    "{kind: jsd, mixture: 0.1}",
    "{kind: jsd, mixture: [0.1]}",
    "{kind: jsd, mixture: [0.1, 0.1]}",
    "{kind: jsd, beta: [0.5, 1]}",
    "{kind: cka, beta: 1, logit: [{kind: jsd, beta: 0.1}, {kind: tvd}]}",
]


def scaled(spec: JobSpec) -> set[bool | None]:
    terms = [method.logit_term for method in spec.sweep.methods]
    return {term.scaled for term in terms if isinstance(term, Jsd)}


@pytest.mark.parametrize(("method", "search"), SWEPT)
def test_a_swept_mixture_is_scaled_unless_the_spec_says_otherwise(
    load: Load, method: str, search: str
) -> None:
    spec = load(spec_text(method, search=search))
    assert scaled(spec) == {True}
    shown = [m.params() for m in spec.sweep.methods]
    assert all(p.get("scaled", p.get("logit.scaled")) is True for p in shown)
    plain = method.replace("kind: jsd", "kind: jsd, scaled: false")
    unscaled = load(spec_text(plain, search=search))
    assert scaled(unscaled) == {False}
    assert load(json.dumps(unscaled.to_json())).hash == unscaled.hash


@pytest.mark.parametrize("method", SINGLE)
def test_a_single_mixture_is_not_scaled(load: Load, method: str) -> None:
    spec = load(spec_text(method))
    assert scaled(spec) == {None}
    assert "scaled" not in str(spec.to_json())


def test_a_choice_between_divergences_is_scaled(load: Load) -> None:
    terms = "{choice: [{kind: jsd, beta: 0.1}, {kind: jsd, beta: 0.7}, {kind: tvd}]}"
    spec = load(spec_text(f"{{kind: cka, beta: 1, logit: {terms}}}", search=SEARCH))
    (drawn,) = spec.sweep.space.values()
    assert [term.get("scaled") for term in drawn.edges] == [True, True, None]
