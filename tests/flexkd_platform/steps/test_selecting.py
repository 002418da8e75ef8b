"""The selection of units: the most important ones, in the order of their rank."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from flexkd_platform.artifacts import read_importance, read_moment, read_units


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
    assert lab.store.manifest(step).summary == {
        "d_teacher": 16,
        "d_student": 8,
        "target": "units",
        "kept_share": pytest.approx(importance_D[units].sum() / importance_D.sum()),
        "kept_moment": pytest.approx(moment_D[units].sum() / moment_D.sum()),
    }


def test_a_wider_student_keeps_the_narrower_ones_units(lab: Any) -> None:
    narrow, wide = lab.plan("student.init.hidden_size=4"), lab.plan("student.init.hidden_size=12")
    for plan in (narrow, wide):
        lab.share(plan)
    few, many = (read_units(lab.step(plan, "select"), lab.store) for plan in (narrow, wide))
    assert len(few) == 4
    assert many[:4] == few
    assert len(set(many)) == 12
