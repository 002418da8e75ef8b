"""A small spec that is right, and ways to read changed copies of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from flexkd_platform.spec import JobSpec, Problem, SpecError, load_spec

SPEC = """\
name: quick
sweep:
  methods:
    - {kind: ft}
    - {kind: kd, beta: 0.5}
    - {kind: flexkd, alpha: [0.05, 0.5]}
  seeds: [10, 20]
"""

Load = Callable[..., JobSpec]
Problems = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def text() -> str:
    """Eight lines without a problem."""
    return SPEC


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(text, overrides)`: the spec that a file with this text holds."""

    def read(text: str = SPEC, overrides: Sequence[str] = ()) -> JobSpec:
        file = tmp_path / "job.yaml"
        file.write_text(text, encoding="utf-8")
        return load_spec(file, overrides)

    return read


@pytest.fixture
def problems(load: Load) -> Problems:
    """`problems(text, overrides)`: everything that is wrong with it."""

    def found(text: str = SPEC, overrides: Sequence[str] = ()) -> tuple[Problem, ...]:
        with pytest.raises(SpecError) as caught:
            load(text, overrides)
        return caught.value.problems

    return found
