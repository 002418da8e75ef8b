"""What the teacher says about training examples: read from its cache, or asked live.

Shapes: N rows, D hidden units of the teacher, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..models import LayerTap, head_rows, hidden_layers
from ..tasks import Encoded
from .worker import Worker


class Targets(Protocol):
    """The teacher's features and outputs of some training rows."""

    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`(hidden_ND, logits_NC)`, fp32, without a graph."""
        ...


class CachedTargets:
    """The teacher cache, read once into memory: (examples × (D + C)) fp32 numbers."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        files = sorted(folder.glob("chunk-*.safetensors"))
        if not files:
            raise FileNotFoundError(f"the teacher cache in {folder} holds no chunk")
        chunks = [load_file(file) for file in files]
        self._hidden = torch.cat([chunk["hidden"] for chunk in chunks]).to(device)
        self._logits = torch.cat([chunk["logits"] for chunk in chunks]).to(device)

    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The kept rows."""
        index = torch.tensor(rows, device=self._hidden.device)
        return self._hidden[index], self._logits[index]


class LiveTargets:
    """The teacher run on every batch, each worker on its own rows."""

    def __init__(self, teacher: nn.Module, layer: int, data: Encoded, worker: Worker) -> None:
        self._teacher = TappedModel(teacher, hidden_layers(teacher)[layer]).to(worker.device).eval()
        self._data = data
        self._worker = worker

    @torch.no_grad()
    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """One forward of the teacher."""
        mine, counts = self._worker.share(rows)
        ids_BT, mask_BT = self._data.batch(mine or rows[:1])
        device = self._worker.device
        hidden_BD, logits_BC = self._teacher(ids_BT.to(device), mask_BT.to(device))
        kept = len(mine)
        return (
            self._worker.gather(hidden_BD[:kept].float(), counts),
            self._worker.gather(logits_BC[:kept].float(), counts),
        )


class TappedModel(nn.Module):
    """A model with a head that also returns a layer's output at the row the head reads.

    projector: applied to those features, and trained with the model; None leaves them as they are.
    """

    def __init__(
        self, model: nn.Module, layer: nn.Module, projector: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.projector = projector
        self._tap = LayerTap(layer)

    def forward(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """`(features_BD, logits_BC)`."""
        output = self.model(input_ids=input_ids_BT, attention_mask=attention_mask_BT)
        rows_BT = head_rows(self.model, input_ids_BT, attention_mask_BT)
        features_BD = self._tap.take()[rows_BT]
        if self.projector is not None:
            features_BD = self.projector(features_BD)
        return features_BD, output.logits
