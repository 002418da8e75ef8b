"""Plans of small specs, in a world that is made up: facts depend on the spec alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.plan import Facts, FactsOf, Plan, StackShape, layer_refs
from flexkd_platform.search import build_plan
from flexkd_platform.spec import (
    METHODS,
    BlankModel,
    JobSpec,
    PretrainedInit,
    load_spec,
    sha256_of,
    spec_with,
)

SPEC = """\
name: quick
task: {kind: classification, data: {source: files, path: reviews.jsonl}}
teacher: {model: some/teacher}
student: {init: {kind: sliced, layers: 2, hidden_size: 16}}
sweep:
  methods: [{kind: ft}]
  seeds: [10, 20]
"""

LABELLED = tuple(name for name in METHODS if name != "seqkd")
"""The methods of tasks whose students write no text."""

TASKS: dict[str, dict[str, Any]] = {
    "instruction": {"kind": "instruction", "data": {"source": "builtin"}},
    "summarization": {"kind": "summarization", "data": {"source": "builtin"}},
}

Planner = Callable[..., Plan]


def facts_of(spec: JobSpec) -> Facts:
    """A teacher of 6 layers (or 6 and 4) of 32 units, and 100 training examples.

    Its stack ends in a norm where it is a causal language model or GPT-2, not where it is BERT or
    BART.
    """
    init = spec.student.init
    model = spec.teacher.model
    named = model.to_json() if isinstance(model, BlankModel) else model
    teacher = sha256_of([named, spec.teacher.revision])
    pretrained = isinstance(init, PretrainedInit)
    two, writes = spec.task.kind == "summarization", spec.task.kind in TASKS
    normed = spec.task.kind == "instruction" or "gpt2" in str(named)
    counts = {"encoder": 6, "decoder": 4} if two else {"": 6}
    stacks = tuple(StackShape(name, count, normed) for name, count in counts.items())
    kept = (
        2 if isinstance(init, PretrainedInit) or not isinstance(init.layers, int) else init.layers
    )
    return Facts(
        data_fingerprint="d" * 64,
        train_rows=100,
        outputs=500 if writes else 2,
        teacher_fingerprint=teacher,
        teacher_hidden=32,
        teacher_stacks=stacks,
        scored=layer_refs(spec.score.layer, stacks),
        student_fingerprint=sha256_of([init.to_json(), "" if pretrained else teacher]),
        student_hidden=24 if isinstance(init, PretrainedInit) else init.hidden_size,
        student_stacks=tuple(replace(stack, layers=kept) for stack in stacks),
        sets={name: sha256_of(source.to_json()) for name, source in spec.task.evaluation.items()},
    )


@pytest.fixture(name="facts_of")
def facts_of_fixture() -> FactsOf:
    """What the made-up world says of a spec."""
    return facts_of


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    """Every method of a task with labels, two seeds, no axis."""
    file = tmp_path / "job.yaml"
    file.write_text(SPEC, encoding="utf-8")
    return spec_with(load_spec(file), {"sweep.methods": [{"kind": name} for name in LABELLED]})


@pytest.fixture
def plan(spec: JobSpec) -> Planner:
    """`plan(changes, facts_of)`: of the spec with the values of some dotted paths changed."""

    def make(changes: dict[str, Any] | None = None, known: Any = facts_of) -> Plan:
        return build_plan(spec_with(spec, changes or {}), known)

    return make


@pytest.fixture
def writing(plan: Planner) -> Planner:
    """`writing(task, changes)`: the plan of every method on a task that writes."""

    def make(task: str = "instruction", changes: dict[str, Any] | None = None) -> Plan:
        methods = [{"kind": name} for name in METHODS]
        return plan({"task": TASKS[task], "sweep.methods": methods} | (changes or {}))

    return make
