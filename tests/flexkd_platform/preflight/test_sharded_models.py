"""What needs a whole model is refused where workers hold shares, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.preflight.sharded_models import sharing_problems
from flexkd_platform.spec import load_spec

DRAWN = {"kind": "minillm", "on_policy": {"teacher_mix": 0.5}}
ALONE = {"kind": "minillm", "on_policy": {"teacher_mix": 0.0}}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "drawn from a share": (
        {"parallel": "fsdp"},
        {"methods": [{"kind": "ft"}, DRAWN]},
        ["sweep.methods[1].on_policy"],
    ),
    "drawn from a teacher's share": (
        {"teacher_placement": "sharded"},
        {"methods": [DRAWN, ALONE]},
        ["sweep.methods[0].on_policy.teacher_mix"],
    ),
    "one worker has everything": (
        {"parallel": "fsdp", "teacher_placement": "sharded", "trial_workers": 1},
        {"methods": [DRAWN]},
        [],
    ),
    "elastic": (
        {"parallel": "fsdp", "trial_workers": {"min": 1, "max": 2}},
        {"methods": [ALONE]},
        ["sweep.methods[0].on_policy"],
    ),
    "methods that share": (
        {"parallel": "fsdp", "teacher_placement": "sharded"},
        {"methods": [{"kind": "ft"}, {"kind": "kd"}, {"kind": "cka"}, {"kind": "flexkd"}]},
        [],
    ),
    "spread over devices": ({"teacher_placement": "device_map"}, {"methods": [DRAWN]}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_needs_a_whole_model(case: str, tmp_path: Path) -> None:
    resources, sweep, paths = CASES[case]
    spec = {"name": "sharing", "task": {"kind": "instruction"}, "sweep": sweep | {"seeds": [1]}}
    spec["resources"] = {"trial_workers": 2} | resources
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(spec))
    assert [problem.path for problem in sharing_problems(load_spec(file))] == paths


def test_units_selected_anew_need_a_whole_teacher(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    spec = {
        "name": "sharing",
        "score": {"aggregation": "batch"},
        "sweep": {"methods": [{"kind": "ft"}, {"kind": "flexkd"}], "seeds": [1]},
        "resources": {"trial_workers": 2, "teacher_placement": "sharded"},
    }
    file.write_text(json.dumps(spec))
    (problem,) = sharing_problems(load_spec(file))
    assert problem.path == "score.aggregation"
    assert "aggregation: global" in problem.remedy
