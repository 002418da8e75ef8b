"""An adapter that two data-parallel workers train is the one that a single worker trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flexkd_platform.spec import Resources

from .group_of import train_in_group

pytest.importorskip("peft")
pytestmark = pytest.mark.slow


def test_two_workers_train_the_same_adapter(fresh: Any, tmp_path: Path) -> None:
    lab = fresh()
    trial = lab.trial("{kind: cka}", "student.lora={r: 2, alpha: 4}")
    file = Path("model", "adapter_model.safetensors")
    expected = load_file(lab.run(trial) / file)
    lab = lab.without(trial.distill)
    work = [([trial], lab.store.uri, Resources(trial_workers=2))]
    train_in_group(2, work, tmp_path / "group")
    found = load_file(lab.store.folder(trial.distill) / file)
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        # Sums over workers have another order; AdamW divides by gradients of about 1e-4.
        torch.testing.assert_close(found[name], weight, atol=1e-4, rtol=1e-3)
