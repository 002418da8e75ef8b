"""Plans of small specs, in a world that is made up: facts depend on the spec alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.plan import Facts, FactsOf, Plan, build_plan
from flexkd_platform.spec import JobSpec, PretrainedInit, load_spec, sha256_of, spec_with

SPEC = """\
name: quick
task: {kind: classification, data: {source: files, path: reviews.jsonl}}
teacher: {model: some/teacher}
student: {init: {kind: sliced, layers: 2, hidden_size: 16}}
sweep:
  methods:
    - {kind: ft}
    - {kind: kd}
    - {kind: projector}
    - {kind: cka}
    - {kind: flexkd}
  seeds: [10, 20]
"""

Planner = Callable[..., Plan]


def facts_of(spec: JobSpec) -> Facts:
    """A teacher of 6 layers and 32 units, and 100 training examples."""
    init = spec.student.init
    teacher = sha256_of([spec.teacher.model, spec.teacher.revision])
    pretrained = isinstance(init, PretrainedInit)
    return Facts(
        data_fingerprint="d" * 64,
        train_rows=100,
        outputs=2,
        teacher_fingerprint=teacher,
        teacher_hidden=32,
        teacher_layer=5 if spec.score.layer == "last" else spec.score.layer % 6,
        student_fingerprint=sha256_of([init.to_json(), "" if pretrained else teacher]),
        student_hidden=24 if isinstance(init, PretrainedInit) else init.hidden_size,
    )


@pytest.fixture(name="facts_of")
def facts_of_fixture() -> FactsOf:
    """What the made-up world says of a spec."""
    return facts_of


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    """Five methods, two seeds, no axis."""
    file = tmp_path / "job.yaml"
    file.write_text(SPEC, encoding="utf-8")
    return load_spec(file)


@pytest.fixture
def plan(spec: JobSpec) -> Planner:
    """`plan(changes, facts_of)`: of the spec with the values of some dotted paths changed."""

    def make(changes: dict[str, Any] | None = None, known: Any = facts_of) -> Plan:
        return build_plan(spec_with(spec, changes or {}), known)

    return make
