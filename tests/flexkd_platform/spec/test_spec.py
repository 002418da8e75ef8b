"""What a right spec means: defaults, overrides, axes of methods, and its identity."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flexkd_platform.spec import (
    METHODS,
    ClassificationTask,
    FlexKd,
    JobSpec,
    Resources,
    SlicedInit,
    canonical_json,
    sha256_of,
    spec_with,
)
from flexkd_platform.spec.methods import MethodName

Load = Callable[..., JobSpec]


def test_defaults(load: Load) -> None:
    spec = load("name: a\nsweep: {methods: [{kind: ft}]}\n")
    assert spec.sweep.seeds == (10, 20, 30)
    assert spec.sweep.baseline == "ft"
    assert isinstance(spec.task, ClassificationTask)
    assert spec.task.data.source == "builtin"
    assert isinstance(spec.student.init, SlicedInit)
    assert spec.teacher.finetune is not None
    assert spec.experiment == "a"
    assert spec.metrics == ("accuracy", "f1", "matthews")
    assert spec.resources == Resources()


def test_the_papers_weights_are_the_defaults(load: Load) -> None:
    (method,) = load("name: a\nsweep: {methods: [{kind: flexkd}]}\n").sweep.methods
    assert method == FlexKd.model_validate({"kind": "flexkd", "alpha": 0.5, "lambda": 0.5})
    assert method.to_json() == {
        "kind": "flexkd",
        "alpha": 0.5,
        "beta": 0.0,
        "lambda": 0.5,
        "logit": {"kind": "forward_kl", "temperature": 1.0, "top_k": None},
        "on_policy": None,
        "layers": "last",
        "loss": "correlation",
        "reduction": "sum",
        "pairing": "rank",
        "target": "units",
    }


def test_a_finetune_of_null_is_kept_apart_from_none_given(load: Load, text: str) -> None:
    assert load(text + "teacher: {finetune: null}\n").teacher.finetune is None
    assert load(text + "teacher: {}\n").teacher.finetune is not None


def test_words_and_numbers_of_a_spec(load: Load, text: str) -> None:
    distill = load(text + "distill: {learning_rate: 3e-4, teacher_cache: off}\n").distill
    assert distill.learning_rate == 3e-4
    assert distill.teacher_cache == "off"


def test_lists_of_settings_expand_in_order(load: Load) -> None:
    spec = load(
        "name: a\nsweep:\n  methods:\n"
        "    - {kind: kd, beta: [1, 2], temperature: [4, 3]}\n"
        "    - {kind: ft}\n"
        "    - {kind: flexkd, loss: [mse, cosine]}\n"
    )
    found = [
        tuple(m.to_json().get(k) for k in ("kind", "beta", "temperature", "loss"))
        for m in spec.sweep.methods
    ]
    assert found == [
        ("kd", 1.0, 4.0, None),
        ("kd", 1.0, 3.0, None),
        ("kd", 2.0, 4.0, None),
        ("kd", 2.0, 3.0, None),
        ("ft", None, None, None),
        ("flexkd", 0.0, None, "mse"),
        ("flexkd", 0.0, None, "cosine"),
    ]


def test_methods_table_holds_every_kind() -> None:
    assert tuple(METHODS) == get_args(MethodName)
    assert len(METHODS) == 14
    for name, section in METHODS.items():
        assert section.model_validate({"kind": name}).to_json()["kind"] == name


def test_overrides(load: Load, text: str) -> None:
    spec = load(
        text,
        [
            "distill.learning_rate=3e-4",
            "distill.teacher_cache=off",
            "student.init={kind: random, layers: 2}",
            "teacher.finetune=null",
            "sweep.methods[2].alpha=[1, 2, 3]",
            "sweep.methods[1].lambda=0.25",
            "tracking.experiment=a=b",
            'sweep.axes["distill.epochs"]=[1, 2]',
            "name=renamed",
        ],
    )
    assert spec.distill.learning_rate == 3e-4
    assert spec.distill.teacher_cache == "off"
    assert spec.student.init.kind == "random"
    assert spec.teacher.finetune is None
    assert [m.to_json().get("alpha") for m in spec.sweep.methods] == [None, None, 1, 2, 3]
    assert spec.sweep.methods[1].to_json()["lambda"] == 0.25
    assert spec.experiment == "a=b"
    assert spec.sweep.axes == {"distill.epochs": (1, 2)}
    assert spec.name == "renamed"


def test_the_last_override_of_a_path_counts(load: Load) -> None:
    assert load(overrides=["distill.epochs=1", "distill.epochs=3"]).distill.epochs == 3


def test_an_override_of_one_of_two_uses_of_an_anchor_leaves_the_other(
    load: Load, text: str
) -> None:
    shared = text + "teacher: {finetune: &t {epochs: 1}}\ndistill: *t\n"
    spec = load(shared, ["distill.epochs=5"])
    assert spec.teacher.finetune is not None
    assert (spec.teacher.finetune.epochs, spec.distill.epochs) == (1, 5)


def test_a_spec_is_frozen(load: Load) -> None:
    spec = load()
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]


# --- identity ----------------------------------------------------------------------------------


def test_the_hash_is_written_down(load: Load) -> None:
    """It moves when a field or a default of the spec does: the same file is then another job."""
    spec = load()
    assert spec.hash == sha256_of({k: v for k, v in spec.to_json().items() if k != "resources"})
    assert spec.hash == "803a3bdc12a57946baa85144fd7cd205b923978829e9e0d02d4e33a0e3fadc7b"
    assert spec.id == f"quick-{spec.hash[:8]}"


def test_the_hash_is_the_same_in_another_process(load: Load) -> None:
    spec = load()
    code = (
        "import sys; from flexkd_platform.spec import JobSpec; "
        "print(JobSpec.model_validate_json(sys.stdin.read()).hash)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(spec.to_json()),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == spec.hash


def test_key_order_and_comments_do_not_count(load: Load, text: str) -> None:
    data = yaml.safe_load(text) | {"distill": {"epochs": 2.0, "batch_size": 16}}
    forward = yaml.safe_dump(data, sort_keys=True)
    backward = yaml.safe_dump(
        {k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in data.items()},
        sort_keys=False,
    )
    assert forward != backward
    assert load(forward).hash == load("# a comment\n" + backward).hash


def test_defaults_written_out_do_not_count(load: Load, text: str) -> None:
    assert load(text + "distill: {epochs: 2, learning_rate: 0.0003}\n").hash == load().hash


RESOURCES = {
    "score_workers": 7,
    "trial_workers": 3,
    "trial_cpus": 4,
    "trial_gpus": 0.5,
    "teacher_cpus": 9,
    "teacher_gpus": 0.25,
    "max_concurrent_trials": 5,
    "parallel": "fsdp",
    "micro_batch": 8,
    "checkpoint_steps": 10,
    "teacher_placement": "sharded",
}


def test_resources_do_not_count(load: Load) -> None:
    assert set(RESOURCES) == set(Resources.model_fields)
    for name, value in RESOURCES.items():
        changed = spec_with(load(), {f"resources.{name}": value})
        assert changed != load()
        assert changed.hash == load().hash


CHANGES: dict[str, Any] = {
    "name": "other",
    "task.data.train": 100,
    "task.data.subset_seed": 1,
    "task.max_length": 32,
    "task.classes": 3,
    "teacher.model": "other",
    "teacher.revision": "main",
    "teacher.finetune": None,
    "teacher.finetune.seed": 1,
    "student.init.layers": 4,
    "student.init.units": "first",
    "score.kind": "activation",
    "score.chunk": 32,
    "distill.epochs": 2.5,
    "distill.teacher_cache": "off",
    "sweep.methods[1].beta": 0.25,
    "sweep.methods[2].pairing": "index",
    "sweep.axes": {"distill.epochs": [1, 2]},
    "sweep.seeds": [20, 10],
    "sweep.baseline": None,
    "evaluate.split": "validation",
    "evaluate.metrics": ["f1"],
    "tracking.experiment": "other",
    "reference": [{"method": "ft", "metric": "accuracy", "mean": 0.9}],
    "plugins": ["json"],
}


def test_everything_else_counts(load: Load) -> None:
    specs = [load(), *(spec_with(load(), {path: value}) for path, value in CHANGES.items())]
    assert {path.partition(".")[0] for path in CHANGES} == set(JobSpec.model_fields) - {"resources"}
    for one, other in itertools.combinations(specs, 2):
        assert one.hash != other.hash


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_canonical_json_is_json_in_one_form(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2, max_size=5))
def test_canonical_json_forgets_the_order_of_keys(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_canonical_json_by_example() -> None:
    assert canonical_json({"b": [1, 2.0, "ü"], "a": None}) == '{"a":null,"b":[1,2.0,"\\u00fc"]}'
    # printf '%s' '{"a":1}' | sha256sum
    expected = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert sha256_of({"a": 1}) == expected
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_a_spec_survives_its_json(load: Load) -> None:
    spec = load(overrides=['sweep.axes["score.kind"]=[gradient, random]'])
    assert JobSpec.model_validate_json(json.dumps(spec.to_json())) == spec
    assert spec_with(spec, {}) == spec
