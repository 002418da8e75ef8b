"""What the student and the teacher compute on a drawn sample before the training starts.

Shapes: N rows compared, S student units, T teacher units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from flexkd_core import drawn_rows

from ..models import HiddenStateHook, hidden_layer
from ..spec import FineTuning, Method
from ..tasks import Batch, Examples
from .feature_terms import FeatureTerm, feature_loss
from .hidden_states import HiddenStateModel, forward
from .micro_batch import MicroBatchOutputs
from .objective import DistillationObjective
from .teacher_signal import TeacherSignal
from .worker import SoloWorker

SAMPLE = 64
"""Examples of a sample that is drawn before the training."""

SAMPLE_BATCH = 8
"""Examples in one forward of a sample."""


def sample_rows(total: int, seed: int) -> list[int]:
    """`SAMPLE` of `total` training examples, drawn without replacement; all if there are fewer."""
    rows: list[int] = drawn_rows(total, min(total, SAMPLE), seed).tolist()
    return rows


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


def gradient_scale(
    module: HiddenStateModel,
    data: Examples,
    method: Method,
    terms: Sequence[FeatureTerm],
    signal: TeacherSignal,
    rows: Sequence[int],
    *,
    task: str,
    head: Any,
    device: torch.device,
    class_weights: Tensor | None = None,
) -> float:
    """s = ‖∂L_supervised/∂h‖ / ‖∂L_feature/∂h‖, of the untrained student on a sample.

    h are the hidden states of the student's compared layers, before a projector; with several
    layers, the norm is over all of them. Both losses are those of the training, without weights,
    taken over the whole sample as over one batch.

    Args:
        rows: the examples, by their index in `data`; their own labels or responses are read.
        head: the student's output head, for a language model.
        class_weights: of the supervised loss.

    Raises:
        ValueError: a gradient is 0 or not finite.
    """
    features = sample_features(module, data, signal, terms, rows, device)
    of_features = _feature_gradient(module, method, terms, features)
    supervised = DistillationObjective(
        FineTuning(kind="ft"), task, head=head, class_weights=class_weights
    )
    of_labels = _supervised_gradient(module, data, terms, rows, supervised, device)
    for name, norm in (("feature", of_features), ("supervised", of_labels)):
        if not (norm > 0 and math.isfinite(norm)):
            raise ValueError(
                f"normalise: gradient, but before the training the gradient of the {name} loss on "
                f"{len(rows)} examples has the norm {norm:g}; set normalise: none"
            )
    return of_labels / of_features


def _feature_gradient(
    module: HiddenStateModel,
    method: Method,
    terms: Sequence[FeatureTerm],
    features: Sequence[tuple[Tensor, Tensor]],
) -> float:
    """‖∂L_feature/∂h‖. Each layer's loss depends on the hidden states through its own rows."""
    loss, squares = feature_loss(method), 0.0
    leaves: dict[str, Tensor] = {}
    values = []
    for place, (term, (student_NS, teacher_NT)) in enumerate(zip(terms, features, strict=True)):
        leaf_NS = leaves.setdefault(str(term.student), student_NS.detach().requires_grad_())
        projected = module.projectors[place](leaf_NS) if module.projectors else leaf_NS
        arguments = term.loss_arguments(projected)
        values.append(loss(projected, term.matched(teacher_NT), **arguments))
    for gradient in torch.autograd.grad(torch.stack(values).sum(), list(leaves.values())):
        squares += float(gradient.double().square().sum())
    return math.sqrt(squares)


def _supervised_gradient(
    module: HiddenStateModel,
    data: Examples,
    terms: Sequence[FeatureTerm],
    rows: Sequence[int],
    objective: DistillationObjective,
    device: torch.device,
) -> float:
    """‖∂L_supervised/∂h‖. Batches have separate positions, so that their squares add up."""
    total = {
        "targets": [sum(map(data.target_rows, rows))],
        "labels": [sum(map(data.label_rows, rows))],
    }
    layers, squares = list(dict.fromkeys(term.student for term in terms)), 0.0
    was_training = module.training
    module.to(device).eval()
    outputs = HiddenStateModel(module.model).eval()
    with ExitStack() as hooks:
        taps = [
            hooks.enter_context(HiddenStateHook(hidden_layer(module.model, layer)))
            for layer in layers
        ]
        for some, batch in _batches(data, rows, SAMPLE_BATCH):
            out = forward(outputs, batch, device)
            weight = data.label_weight(rows)
            part = MicroBatchOutputs(some, batch, True, out, total, label_weight=weight)
            loss = objective(part, SoloWorker(str(device)))["loss"]
            hidden = [tap.take() for tap in taps]
            for gradient_BTD in torch.autograd.grad(loss, hidden):
                squares += float(gradient_BTD.double().square().sum())
    module.train(was_training)
    return math.sqrt(squares)


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
