"""A training has a number of epochs or of steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.plan import TrainingRecipe
from flexkd_platform.spec import JobSpec, SpecError, load_spec, spec_with


def loaded(folder: Path, *overrides: str, **sections: Any) -> JobSpec:
    file = folder / "job.yaml"
    spec = {"name": "steps", "sweep": {"methods": [{"kind": "ft"}]}, **sections}
    file.write_text(json.dumps(spec), encoding="utf-8")
    return load_spec(file, overrides)


def test_steps_take_the_place_of_epochs(tmp_path: Path) -> None:
    spec = loaded(tmp_path, distill={"max_steps": 7}, teacher={"finetune": {"max_steps": 3}})
    recipe = TrainingRecipe.of(spec.distill, seed=0)
    assert recipe.total_steps(1000) == 7
    assert recipe.total_steps(1) == 7
    assert recipe.epoch_steps(64) == 2
    assert spec.teacher.finetune is not None
    assert TrainingRecipe.of(spec.teacher.finetune, seed=0).total_steps(1000) == 3
    # The schedule ends with the last step.
    assert recipe.rate(7, recipe.total_steps(1000)) == 0


def test_identities_name_what_counts(tmp_path: Path) -> None:
    spec = loaded(tmp_path, distill={"max_steps": 7})
    recipe = TrainingRecipe.of(spec.distill, seed=0)
    assert recipe.to_identity()["max_steps"] == 7
    assert "epochs" not in recipe.to_identity()
    usual = replace(recipe, max_steps=None).to_identity()
    assert "max_steps" not in usual
    assert usual["epochs"] == 2.0
    # A spec as JSON, with all defaults filled in, is the same spec.
    assert spec_with(spec, {}).hash == spec.hash
    assert "max_steps" not in loaded(tmp_path).to_json()["distill"]


@pytest.mark.parametrize(
    ("sections", "overrides", "path"),
    [
        ({"distill": {"epochs": 1, "max_steps": 7}}, (), "distill.max_steps"),
        ({"distill": {"epochs": 1}}, ("distill.max_steps=7",), "distill.max_steps"),
        (
            {"teacher": {"finetune": {"epochs": 1, "max_steps": 7}}},
            (),
            "teacher.finetune.max_steps",
        ),
        (
            {"student": {"warm_up": {"epochs": 1, "max_steps": 7}}},
            (),
            "student.warm_up.max_steps",
        ),
        (
            {
                "distill": {"max_steps": 7},
                "sweep": {"methods": [{"kind": "ft"}], "axes": {"distill.epochs": [1, 2]}},
            },
            (),
            "distill.max_steps",
        ),
    ],
)
def test_both_are_refused(
    tmp_path: Path, sections: dict[str, Any], overrides: tuple[str, ...], path: str
) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, *overrides, **sections)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert problem.remedy == "leave one of them out"


def test_an_axis_of_steps(tmp_path: Path) -> None:
    sweep = {"methods": [{"kind": "ft"}], "axes": {"distill.max_steps": [3, 7]}}
    spec = loaded(tmp_path, sweep=sweep)
    assert spec_with(spec, {"distill.max_steps": 7}).distill.max_steps == 7
    with pytest.raises(SpecError):
        loaded(tmp_path, distill={"max_steps": 0})
