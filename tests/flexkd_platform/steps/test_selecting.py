"""The selection of units: the most important ones, in the order of their rank."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from flexkd_core import select_diverse, select_units
from flexkd_platform.artifacts import (
    read_direction_weights,
    read_directions,
    read_importance,
    read_importance_halves,
    read_moment,
    read_moments,
    read_unit_weights,
    read_units,
)


def test_the_selection_is_the_largest_importance_in_rank_order(lab: Any) -> None:
    plan = lab.plan()
    lab.share(plan)
    step = lab.step(plan, "select")
    importance_D = read_importance(lab.step(plan, "score"), lab.store)
    units = read_units(step, lab.store)
    assert units == sorted(range(16), key=lambda unit: (-importance_D[unit], unit))[:8]
    assert json.loads((lab.store.folder(step) / "units.json").read_text()) == units
    moment_DD = read_moment(lab.step(plan, "score"), lab.store)
    assert moment_DD is not None
    moment_D = np.diag(moment_DD)
    halves = read_importance_halves(lab.step(plan, "score"), lab.store)
    assert halves is not None
    first, second = (
        sorted(range(16), key=lambda unit: (-half_D[unit], unit))[:8] for half_D in halves
    )
    stability = {
        "units": len({*first} & {*second}) / len({*first} | {*second}),
        "pairs": sum(a == b for a, b in zip(first, second, strict=True)) / 8,
    }
    assert lab.store.manifest(step).summary == {
        "d_teacher": 16,
        "d_student": 8,
        "target": "units",
        "kept_share": pytest.approx(importance_D[units].sum() / importance_D.sum()),
        "kept_moment": pytest.approx(moment_D[units].sum() / moment_D.sum()),
        "rank": np.linalg.matrix_rank(moment_DD, tol=None, hermitian=True),
        "stability": stability,
    }


def test_a_wider_student_keeps_the_narrower_ones_units(lab: Any) -> None:
    narrow, wide = lab.plan("student.init.hidden_size=4"), lab.plan("student.init.hidden_size=12")
    for plan in (narrow, wide):
        lab.share(plan)
    few, many = (read_units(lab.step(plan, "select"), lab.store) for plan in (narrow, wide))
    assert len(few) == 4
    assert many[:4] == few
    assert len(set(many)) == 12


def one_method(**settings: Any) -> str:
    return f"sweep.methods={json.dumps([{'kind': 'flexkd', **settings}])}"


def test_lowest_and_random_units_are_controls(lab: Any) -> None:
    lowest = lab.plan(one_method(select="lowest"))
    lab.share(lowest)
    importance_D = read_importance(lab.step(lowest, "score"), lab.store)
    units = read_units(lab.step(lowest, "select"), lab.store)
    assert units == sorted(range(16), key=lambda unit: (importance_D[unit], unit))[:8]
    drawn = lab.plan(one_method(select="random"), "sweep.seeds=[1, 2, 3]")
    lab.share(drawn)
    selections = [step for step in drawn.shared if step.kind == "select"]
    found = [read_units(step, lab.store) for step in selections]
    assert len({tuple(units) for units in found}) == 3
    assert all(len(set(units)) == 8 for units in found)
    assert [step.config.seed for step in selections] == [1, 2, 3]


def test_units_of_origin_are_those_that_a_sliced_student_was_cut_from(lab: Any) -> None:
    plan = lab.plan(one_method(select="origin"))
    lab.share(plan)
    assert read_units(lab.step(plan, "select"), lab.store) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_diverse_units_are_selected_by_the_stored_covariance(lab: Any) -> None:
    plan = lab.plan(one_method(select="diverse"))
    lab.share(plan)
    score = lab.step(plan, "score")
    importance_D = read_importance(score, lab.store)
    covariance_DD = read_moments(score, lab.store)["covariance"]
    units = read_units(lab.step(plan, "select"), lab.store)
    assert units == select_diverse(importance_D, covariance_DD, 8)
    assert units != select_units(importance_D, 8)


def test_the_weights_are_the_importance_of_the_selected(lab: Any) -> None:
    plan = lab.plan()
    lab.share(plan)
    importance_D = read_importance(lab.step(plan, "score"), lab.store)
    weights = read_unit_weights(lab.step(plan, "select"), lab.store)
    assert weights == {unit: importance_D[unit] for unit in weights}
    assert len(weights) == 8


@pytest.mark.parametrize("target", ["directions", "contribution_directions"])
def test_directions_have_their_eigenvalues_and_stability(lab: Any, target: str) -> None:
    plan = lab.plan(one_method(target=target))
    lab.share(plan)
    moments = read_moments(lab.step(plan, "score"), lab.store)
    step = lab.step(plan, "select")
    vectors_DC = read_directions(step, lab.store)
    values_C = read_direction_weights(step, lab.store)
    against_DD = moments["covariance"] if target == "contribution_directions" else np.eye(16)
    product_DD = moments["M"] @ against_DD
    np.testing.assert_allclose(
        product_DD @ vectors_DC, vectors_DC * values_C, atol=1e-6 * np.abs(vectors_DC).max()
    )
    assert (np.diff(values_C) <= 0).all()
    stability = lab.store.manifest(step).summary["stability"]
    assert 0 <= stability["subspace"] <= 1
    assert stability["directions"] in range(9)
    assert set(stability) == {"units", "pairs", "subspace", "directions"}
