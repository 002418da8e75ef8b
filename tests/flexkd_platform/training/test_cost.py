"""What a model costs to use: counts against those of the model itself, and what is published."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from flexkd_platform.artifacts import COST, cost_of
from flexkd_platform.training.cost import device_name, measure_cost

CPU = torch.device("cpu")


def test_an_evaluation_publishes_what_the_student_costs(lab: Any) -> None:
    trial = lab.trial("{kind: ft}")
    model = AutoModelForSequenceClassification.from_pretrained(lab.run(trial) / "model")
    summary = lab.store.manifest(trial.evaluate).summary
    cost = cost_of(summary)
    assert cost is not None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    assert cost.parameters == parameters
    assert cost.weight_bytes == 4 * parameters + buffers
    assert cost.latency_ms > 0
    assert 0 < cost.tokens <= 12  # max_length of the task
    assert cost.device == "CPU, 1 thread"
    assert cost.peak_bytes is None
    # Measured values enter no file: the same step publishes the same bytes anywhere.
    for name in lab.store.manifest(trial.evaluate).files:
        assert COST.encode() not in lab.store.file(trial.evaluate, name).read_bytes()


def test_an_evaluation_of_an_earlier_version_has_no_cost() -> None:
    assert cost_of({"metrics": {}}) is None


def test_a_cost_needs_an_example() -> None:
    with pytest.raises(ValueError, match="there is none"):
        measure_cost(torch.nn.Linear(1, 1), _None(), CPU)


class _None:
    def __len__(self) -> int:
        return 0


def test_a_cpu_is_named_with_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert device_name(CPU) == "CPU, 2 threads"
    finally:
        torch.set_num_threads(before)
