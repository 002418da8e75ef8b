"""The importance of the units of one teacher layer on a batch, for any task.

Shapes: B examples, T positions, N rows compared, D hidden units, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flexkd_core import Importance, unit_importance

from ..models import head_rows, hidden_layer, output_head
from ..plan import ImportanceConfig, LayerRef, stack_of
from ..spec import Moment
from ..tasks import Batch
from .hidden_states import HEAD_INPUT, LOGITS, HiddenStateModel, forward


def score_batch(
    extractor: HiddenStateModel,
    batch: Batch,
    layer: LayerRef,
    settings: ImportanceConfig,
    device: torch.device,
    *,
    moment: Moment | None = None,
) -> tuple[Importance, dict[str, Tensor]]:
    """The importance of a layer's units, and the outputs of the teacher's forward pass.

    For text, F is the log-probability of the example's reference tokens, Σ_t log p(y_t) in nats, or
    for output `loss` the mean of −log p(y_t); the rows are those of the scored stack.
    """
    model: Any = extractor.model
    first: dict[str, Tensor] = {}
    output = settings.output

    def outputs() -> Tensor:
        found = forward(extractor, batch, device)
        if not first:  # integrated gradients run again with scaled hidden states
            first.update({name: value.detach() for name, value in found.items()})
        # Without F, the V-wide logits of a text are not computed.
        if batch.targets_BT is None or not settings.reads_output:
            return found[LOGITS]
        return _log_likelihood(model, batch, found[HEAD_INPUT], mean=output == "loss")

    if batch.targets_BT is None:
        inputs = batch.inputs
        rows_BT = head_rows(
            model, inputs["input_ids"].to(device), inputs["attention_mask"].to(device)
        )
    else:
        rows_BT, output = batch.feature_masks[stack_of(layer)].to(device), "value"
    importance = unit_importance(
        outputs,
        hidden_layer(model, layer),
        rows_BT,
        # The contribution of a unit follows from the moments over all examples.
        kind="gradient" if settings.kind == "contribution" else settings.kind,
        output=output,
        labels_B=batch.labels_N.to(device) if batch.targets_BT is None else None,
        steps=settings.steps,
        seed=settings.seed,
        moments=moment,
    )
    return importance, first


def _log_likelihood(model: Any, batch: Batch, hidden_ND: Tensor, *, mean: bool) -> Tensor:
    """(B, 1): Σ_t log p(y_t) of each example, or the mean of −log p(y_t)."""
    assert batch.targets_BT is not None
    logits_NV = output_head(model)(hidden_ND)
    labels_N = batch.labels_N.to(hidden_ND.device)
    logprob_N = logits_NV.float().log_softmax(dim=1).gather(1, labels_N[:, None])[:, 0]
    tokens_B = batch.targets_BT.sum(dim=1).to(hidden_ND.device)
    owner_N = torch.arange(len(tokens_B), device=hidden_ND.device).repeat_interleave(tokens_B)
    total_B = logprob_N.new_zeros(len(tokens_B)).index_add(0, owner_N, logprob_N)
    likelihood_B: Tensor = -total_B / tokens_B.clamp(min=1) if mean else total_B
    return likelihood_B[:, None]
