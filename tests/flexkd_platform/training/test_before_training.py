"""What is computed on a sample before the training, against plain forwards of both models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.training.before_training import sample_features

from ..lab import Lab, training_of

ROWS = [9, 2, 17, 0, 21]


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_features_of_a_sample_are_those_of_both_models(lab: Lab, cache: str) -> None:
    trial = lab.trial("{kind: flexkd}", f"distill.teacher_cache={cache}")
    training = training_of(trial.distill, lab.store)
    signal = training.objective.targets
    assert signal is not None
    training.module.train()
    device, terms = torch.device("cpu"), training.terms
    ((student_NS, teacher_NT),) = sample_features(
        training.module, training.data, signal, terms, ROWS, device, batch_size=2
    )
    assert training.module.training, "the mode is restored"
    assert not student_NS.requires_grad
    teacher_step = next(s for s in trial.distill.upstream() if s.kind == "teacher")
    teacher, _ = load_teacher(teacher_step, lab.store)
    for model, found, width in ((training.model, student_NS, 8), (teacher, teacher_NT, 16)):
        expected = torch.cat([_first_position(model, training.data, row) for row in ROWS])
        assert found.shape == (len(ROWS), width)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def _first_position(model: Any, data: Any, row: int) -> torch.Tensor:
    """The last hidden state at [CLS], of one example without padding."""
    with torch.no_grad():
        out = model.eval()(**data.batch([row]).inputs, output_hidden_states=True)
    return out.hidden_states[-1][:, 0]
