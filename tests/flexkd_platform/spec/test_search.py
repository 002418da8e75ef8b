"""Distributions in place of values: read, kept, and refused where they make no sense."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pytest
import yaml

from flexkd_platform.spec import Asha, Choice, LogUniform, OptunaSearch, Uniform, json_schema

from .conftest import Load, Problems

TEXT = """\
name: quick
sweep:
  methods:
    - {kind: ft}
    - {kind: flexkd, alpha: {log_uniform: [0.01, 1]}, beta: [0.1, 0.2]}
    - {kind: cka, logit: {kind: jsd, beta: {uniform: [0, 1]}}}
  axes: {distill.learning_rate: {log_uniform: [1e-5, 1e-3]}, distill.epochs: [1, 2]}
  search: {kind: optuna, samples: 8}
  scheduler: {kind: asha, grace_steps: 10}
  seeds: [10, 20]
"""


def test_distributions_are_kept_apart_from_the_values(load: Load) -> None:
    spec = load(TEXT)
    assert spec.sweep.space == {
        "sweep.methods[1].alpha": LogUniform(log_uniform=(0.01, 1)),
        "sweep.methods[1].beta": Choice(choice=(0.1, 0.2)),
        "sweep.methods[2].logit.beta": Uniform(uniform=(0, 1)),
        "distill.learning_rate": LogUniform(log_uniform=(1e-5, 1e-3)),
    }
    assert [method.kind for method in spec.sweep.methods] == ["ft", "flexkd", "cka"]
    assert spec.sweep.axes == {"distill.epochs": (1, 2)}
    assert spec.sweep.search == OptunaSearch(kind="optuna", samples=8)
    assert spec.sweep.scheduler == Asha(kind="asha", grace_steps=10)


def test_the_layers_of_a_student_may_be_written_as_numbers(load: Load) -> None:
    spec = load(
        "name: quick\nsweep:\n  methods: [{kind: projector, layers: {1: 2, 3: {choice: [4, 5]}}}]\n"
        "  search: {kind: random, samples: 2}\n"
    )
    (method,) = spec.sweep.methods
    assert method.layers == {"1": 2}
    assert spec.sweep.space == {"sweep.methods[0].layers.3": Choice(choice=(4, 5))}


def test_a_spec_with_everything_filled_in_is_the_same_spec(load: Load) -> None:
    spec = load(TEXT)
    again = load(yaml.safe_dump(spec.to_json(), sort_keys=False))
    assert again == spec
    assert again.hash == spec.hash


def test_editors_know_distributions() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    # YAML 1.1 reads 1e-5 as text.
    given = yaml.safe_load(TEXT.replace("1e-5", "0.00001").replace("1e-3", "0.001"))
    assert list(validator.iter_errors(given)) == []
    given["sweep"]["methods"][1]["alpha"] = {"log_uniform": "high"}
    assert list(validator.iter_errors(given))


WRONG: dict[str, tuple[str, str, str, int, str, str]] = {
    "in a grid": (
        "{kind: optuna, samples: 8}",
        "{kind: grid}",
        "sweep.methods[1].alpha",
        5,
        "a distribution, but a grid search needs a list of values",
        "kind: random",
    ),
    "order": (
        "log_uniform: [0.01, 1]",
        "log_uniform: [1, 0.01]",
        "sweep.methods[1].alpha.log_uniform",
        5,
        "1 is not less than 0.01",
        "lowest first",
    ),
    "logarithm": (
        "log_uniform: [0.01, 1]",
        "log_uniform: [0, 1]",
        "sweep.methods[1].alpha.log_uniform",
        5,
        "0 has no logarithm",
        "above 0",
    ),
    "edge": (
        "log_uniform: [0.01, 1]",
        "uniform: [-1, 1]",
        "sweep.methods[1].alpha.uniform[0]",
        5,
        "a number of at least 0",
        "",
    ),
    "choice in a list": (
        "beta: [0.1, 0.2]",
        "beta: [0.1, -0.2]",
        "sweep.methods[1].beta[1]",
        5,
        "a number of at least 0",
        "",
    ),
    "edge of an axis": (
        "log_uniform: [1e-5, 1e-3]",
        "uniform: [-1, 1]",
        'sweep.axes["distill.learning_rate"].uniform[0]',
        7,
        "greater than 0",
        "",
    ),
    "samples": (
        "samples: 8",
        "samples: 0",
        "sweep.search.samples",
        8,
        "greater than 0",
        "",
    ),
    "factor": (
        "grace_steps: 10",
        "grace_steps: 10, reduction_factor: 1",
        "sweep.scheduler.reduction_factor",
        9,
        "greater than 1",
        "",
    ),
    "metric": (
        "samples: 8",
        "samples: 8, metric: acuracy",
        "sweep.search.metric",
        8,
        "'accuracy'",
        "",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_at_its_place_in_the_file(what: str, problems: Problems) -> None:
    before, after, path, line, message, remedy = WRONG[what]
    assert TEXT.count(before) == 1
    (found, *_) = (p for p in problems(TEXT.replace(before, after)) if p.path == path)
    assert found.line == line
    assert message in found.message
    assert remedy in found.remedy


@pytest.mark.parametrize("kind", ["[random]", "{random: 8}"])
def test_a_search_of_no_kind_is_refused(kind: str, problems: Problems) -> None:
    (found, *_) = problems(TEXT.replace("kind: optuna", f"kind: {kind}"))
    assert (found.path, found.line) == ("sweep.search.kind", 8)
    assert found.message.startswith("unknown value ")
    assert found.remedy == "allowed: 'grid', 'random', 'optuna'"


@pytest.mark.parametrize("value", ["[0.1, 0.2]", "0.1", "null", "high", "{normal: [0, 1]}"])
def test_what_is_no_distribution_is_refused(value: str, problems: Problems) -> None:
    (found,) = problems(TEXT + f"  space: {{distill.weight_decay: {value}}}\n")
    assert (found.path, found.line) == ('sweep.space["distill.weight_decay"]', 11)
    given = json.dumps(yaml.safe_load(value))
    assert found.message == (
        f"a distribution is one of uniform, log_uniform, int_uniform, choice, but {given} was given"
    )
    assert found.remedy == "write {choice: [values]}, or {log_uniform: [lowest, highest]}"


@pytest.mark.parametrize("bounds", [f"{'9' * 400}, 1", f"1, {'9' * 400}", f"-{2**53 + 1}, 0"])
def test_whole_numbers_that_floats_do_not_hold_are_not_drawn(
    bounds: str, problems: Problems
) -> None:
    """A draw is a share of the range: between them not every number could be drawn."""
    (found,) = problems(TEXT + f"  space: {{score.seed: {{int_uniform: [{bounds}]}}}}\n")
    assert found.path == 'sweep.space["score.seed"].int_uniform'
    assert found.message == "numbers beyond 2^53 cannot be drawn"


@pytest.mark.parametrize(("low", "high"), [(1e-300, 1e300), (1e-5, 1e-3), (5e-324, 1e308)])
def test_every_order_of_magnitude_can_be_drawn(low: float, high: float) -> None:
    """The middle share of a logarithmic range is the geometric mean, however wide the range."""
    drawn = LogUniform(log_uniform=(low, high))
    assert drawn.at(0) == pytest.approx(low, rel=1e-3)
    assert math.log(drawn.at(0.5)) == pytest.approx((math.log(low) + math.log(high)) / 2, abs=1e-3)
    assert low <= drawn.at(1 - 2**-53) <= high


# --- paths that lie in each other --------------------------------------------------------------

OVERLAPS: dict[str, tuple[str, list[str], str]] = {
    "a section after its part": (
        "axes: {distill.epochs: [1, 2], distill: [{batch_size: 16}, {batch_size: 64}]}",
        ["sweep.axes.distill"],
        "distill and distill.epochs overlap",
    ),
    "a section before its part": (
        "axes: {student.init: [{kind: random}, {kind: sliced}], student.init.layers: [1, 2]}",
        ['sweep.axes["student.init.layers"]'],
        "student.init.layers and student.init overlap",
    ),
    "two spellings": (
        "axes: {distill.epochs: [1, 2], .distill.epochs.: [3, 4]}",
        ['sweep.axes[".distill.epochs."]'],
        ".distill.epochs. is listed twice",
    ),
    "a drawn part of an axis": (
        "axes: {distill: [{batch_size: 16}, {batch_size: 64}]}\n"
        "  space: {distill.epochs: {uniform: [1, 2]}}\n  search: {kind: random, samples: 2}",
        ['sweep.space["distill.epochs"]'],
        "distill.epochs and distill overlap",
    ),
    "a drawn setting of a drawn section": (
        "space: {distill.epochs: {uniform: [1, 2]}, distill: {choice: [{epochs: 2}, {epochs: 3}]}}"
        "\n  search: {kind: random, samples: 2}",
        ["sweep.space.distill"],
        "distill and distill.epochs overlap",
    ),
    "an axis that is drawn too": (
        "axes: {distill.epochs: [1, 2]}\n  search: {kind: random, samples: 2}\n"
        "  space: {.distill.epochs: {uniform: [1, 2]}}",
        ['sweep.space[".distill.epochs"]'],
        ".distill.epochs is also an axis",
    ),
}


@pytest.mark.parametrize("what", OVERLAPS)
def test_one_axis_does_not_write_over_another(what: str, problems: Problems, text: str) -> None:
    """They were planned as fewer trials than their values multiply to, without a word."""
    lines, paths, message = OVERLAPS[what]
    found = problems(f"{text}  {lines}\n")
    assert [problem.path for problem in found] == paths
    assert found[0].message == message
    assert found[0].remedy


def test_axes_side_by_side_do_not_overlap(load: Load, text: str) -> None:
    axes = "{distill.epochs: [1, 2], distill.batch_size: [1, 2], student.init.layers: [1, 2]}"
    assert len(load(f"{text}  axes: {axes}\n").sweep.axes) == 3


def test_a_search_with_nothing_to_draw_is_refused(problems: Problems, text: str) -> None:
    changed = text.replace("[0.05, 0.5]", "0.5") + "  search: {kind: random, samples: 3}\n"
    (found,) = problems(changed)
    assert found.path == "sweep.search.kind"
    assert "no setting has a distribution" in found.message


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"sweep.methods[9].alpha": {"uniform": [0, 1]}}, "is not a setting"),
        ({"sweep.seeds": {"choice": [1]}}, "is not a field of a trial"),
        ({"resources.trial_cpus": {"int_uniform": [1, 2]}}, "is not a field of a trial"),
        ({"distill.epochs": {"uniform": [1, 2]}}, "is also an axis"),
        ({"distill.batch_size": {"normal": [1, 2]}}, "a distribution is one of uniform"),
    ],
)
def test_the_space_names_settings_of_trials(
    space: dict[str, Any], message: str, problems: Problems
) -> None:
    found = problems(TEXT + f"  space: {space}\n")
    assert [message in problem.message for problem in found] == [True]
