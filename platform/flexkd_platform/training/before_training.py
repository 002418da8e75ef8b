"""What the student and the teacher compute on a drawn sample before the training starts.

Shapes: N rows compared, S student units, T teacher units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..tasks import Batch, Examples
from .feature_terms import FeatureTerm
from .hidden_states import HiddenStateModel, forward
from .teacher_signal import TeacherSignal

SAMPLE = 64
"""Examples of a sample that is drawn before the training."""

SAMPLE_BATCH = 8
"""Examples in one forward of a sample."""


@torch.no_grad()
def sample_features(
    module: HiddenStateModel,
    data: Examples,
    signal: TeacherSignal,
    terms: Sequence[FeatureTerm],
    rows: Sequence[int],
    device: torch.device,
    *,
    batch_size: int = SAMPLE_BATCH,
) -> list[tuple[Tensor, Tensor]]:
    """The features of both models on some training examples, in eval mode, without a graph.

    Call it before the worker wraps the module: all weights are then on every worker, and every
    worker computes the same values.

    Args:
        module: the student; its projectors are not applied.
        rows: the examples, by their index in `data`.
        batch_size: examples of one forward.

    Returns:
        For each term the student's rows (N, S) and all units of its teacher layer (N, T), fp32,
        on `device`.
    """
    with _probe(module, terms, device) as probe:
        found = [
            (forward(probe, batch, device), signal(some, batch))
            for some, batch in _batches(data, rows, batch_size)
        ]
    return [
        (
            torch.cat([ours[str(term.student)].float() for ours, _ in found]),
            torch.cat([theirs.features[term.teacher] for _, theirs in found]),
        )
        for term in terms
    ]


@contextmanager
def _probe(
    module: HiddenStateModel, terms: Sequence[FeatureTerm], device: torch.device
) -> Iterator[HiddenStateModel]:
    """The student without its projectors, in eval mode on the device; its mode is restored."""
    was_training = module.training
    module.to(device).eval()
    probe = HiddenStateModel(module.model, [term.student for term in terms], outputs=False)
    try:
        yield probe.eval()
    finally:
        probe.close()
        module.train(was_training)


def _batches(
    data: Examples, rows: Sequence[int], size: int
) -> Iterator[tuple[Sequence[int], Batch]]:
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        yield some, data.batch(some)
