"""A model with a head that also returns hidden states, at the rows that are compared.

Shapes: B examples, T positions, N rows compared, D hidden units, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..models import HiddenStateHook, OutputRows, head_rows, hidden_layer, reads_mean
from ..plan import LayerRef, stack_of
from ..tasks import Batch, token_positions

LOGITS = "logits"
HEAD_INPUT = "head input"


class HiddenStateModel(nn.Module):
    """A classifier, a regressor or a language model whose forward returns what losses compare.

    layers: layers whose hidden states are returned.
    outputs: whether the head's outputs are returned; without them the head is not trained.
    projectors: one for each layer, applied to its features and trained with the model. The layers
        must then be distinct: features are keyed by layer.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[LayerRef] = (),
        *,
        outputs: bool = True,
        projectors: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        assert not projectors or len(set(layers)) == len(layers), "a layer has one projector"
        self.model = model
        self.projectors = nn.ModuleList(projectors)
        self._layers, self._outputs = tuple(layers), outputs
        self._taps = [HiddenStateHook(hidden_layer(model, layer)) for layer in layers]

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        targets_BT: Tensor | None,
        masks: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """By name: each layer's features (N, D), and the outputs.

        A classifier's or regressor's outputs are its `logits` (N, C). A language model's are the
        `head input` (N, D), from which a loss computes logits a few rows at a time, and empty
        logits, through which a data-parallel wrapper detects that the head is used.
        """
        if targets_BT is None:
            logits_BC = self.model(**positioned(inputs)).logits
            rows_BT = head_rows(self.model, inputs["input_ids"], inputs["attention_mask"])
            found = {LOGITS: logits_BC} if self._outputs else {}
            masks = {"": rows_BT}
        else:
            with OutputRows(self.model, logits=False) as head:
                head.rows_BT = targets_BT
                empty_0V = self.model(**inputs, use_cache=False).logits
                hidden_ND = head.take()
            found = {HEAD_INPUT: hidden_ND, LOGITS: empty_0V} if self._outputs else {}
        for place, (layer, tap) in enumerate(zip(self._layers, self._taps, strict=True)):
            hidden_BTD, mask_BT = tap.take(), masks[stack_of(layer)]
            # The layers of a model that is spread over devices are on several of them.
            own_BT = mask_BT.to(hidden_BTD.device)
            pooled = targets_BT is None and reads_mean(self.model)
            features_ND = _mean(hidden_BTD, own_BT) if pooled else hidden_BTD[own_BT]
            features_ND = features_ND.to(mask_BT.device)
            if self.projectors:
                features_ND = self.projectors[place](features_ND)
            found[str(layer)] = features_ND
        return found

    def close(self) -> None:
        """Remove the hooks from the model."""
        for tap in self._taps:
            tap.remove()


def forward(module: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """One forward of a `HiddenStateModel`, wrapped or not."""
    found: dict[str, Tensor] = module(
        {name: value.to(device) for name, value in batch.inputs.items()},
        None if batch.targets_BT is None else batch.targets_BT.to(device),
        {stack: mask.to(device) for stack, mask in batch.feature_masks.items()},
    )
    return found


def _mean(hidden_BTD: Tensor, rows_BT: Tensor) -> Tensor:
    """The mean (B, D) of each example's hidden states at the rows, one or more."""
    weight_BT1 = rows_BT[..., None].to(hidden_BTD.dtype)
    return (hidden_BTD * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1)


def finite_rows(outputs_NC: Tensor) -> list[bool]:
    """Which rows are finite throughout."""
    finite: list[bool] = torch.isfinite(outputs_NC.detach()).all(dim=1).tolist()
    return finite


def positioned(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """With left padding, positions count from the first token and not from the padding."""
    mask_BT = inputs["attention_mask"]
    if bool(mask_BT[:, 0].all()):
        return inputs
    return {**inputs, "position_ids": token_positions(mask_BT)}
