"""The teacher signal on training examples: offline (read from caches) or online.

Shapes: N rows compared, D hidden units of the teacher, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flexkd_core import LogitMap

from ..models import OutputHead
from ..plan import OUTPUTS, LayerRef, stack_of
from ..tasks import Batch, Examples
from .hidden_states import HEAD_INPUT, LOGITS, HiddenStateModel, forward

HEAD_FILE = "head.safetensors"
"""File with the output head's weights, in the cache of a language model's outputs."""

HeadOfRows = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class TeacherRows:
    """The teacher signal on the rows of a batch, fp32, without a graph.

    features: by layer, (N, D).
    outputs: logits (N, C), or the head's input (N, D) if `head` computes logits from it; None if
        they were not requested.
    paired_N: bool, which rows of the outputs have a teacher's row, where the tokenizers differ; the
        others are 0. None: all.
    """

    features: Mapping[LayerRef, Tensor]
    outputs: Tensor | None
    head: HeadOfRows | None
    paired_N: Tensor | None = None

    def none(self) -> TeacherRows:
        """The same signal without rows."""
        features = {layer: part_ND[:0] for layer, part_ND in self.features.items()}
        outputs = None if self.outputs is None else self.outputs[:0]
        paired = None if self.paired_N is None else self.paired_N[:0]
        return TeacherRows(features, outputs, self.head, paired)

    @classmethod
    def joined(cls, parts: Sequence[TeacherRows]) -> TeacherRows:
        """The rows of several batches, concatenated."""
        first = parts[0]
        features = {
            layer: torch.cat([part.features[layer] for part in parts]) for layer in first.features
        }
        outputs = [part.outputs for part in parts if part.outputs is not None]
        paired = [part.paired_N for part in parts if part.paired_N is not None]
        return cls(
            features,
            torch.cat(outputs) if outputs else None,
            first.head,
            torch.cat(paired) if paired else None,
        )

    def logits(self, start: int, stop: int) -> Tensor:
        """Logits of rows `start` to `stop`."""
        assert self.outputs is not None, "this teacher was not asked for its outputs"
        part_ND = self.outputs[start:stop]
        return part_ND if self.head is None else self.head(part_ND)


class TeacherSignal(Protocol):
    """Provides the teacher signal on training examples."""

    def __call__(self, rows: Sequence[int], batch: Batch) -> TeacherRows:
        """The signal on the examples `rows`, which form the student's `batch`."""
        ...


@dataclass(frozen=True, eq=False)
class ConvertedSignal:
    """A regression teacher's signal, its outputs in the unit of the student's: o · factor + shift.

    They differ where the student reads fewer labels than its teacher.
    """

    signal: TeacherSignal
    factor: float
    shift: float

    def __call__(self, rows: Sequence[int], batch: Batch) -> TeacherRows:
        """The signal with converted outputs."""
        found = self.signal(rows, batch)
        if found.outputs is None:
            return found
        return replace(found, outputs=found.outputs * self.factor + self.shift)


class KeptHead:
    """A language model's output head, loaded from the cache of its outputs."""

    def __init__(self, file: Path, device: torch.device) -> None:
        tensors = load_file(file)
        self._weight_VD = tensors["weight"].to(device)
        self._bias_V = tensors["bias"].to(device) if "bias" in tensors else None
        scale, cap = tensors.get("scale"), tensors.get("cap")
        self._map = LogitMap(
            1.0 if scale is None else scale.item(), None if cap is None else cap.item()
        )

    def __call__(self, hidden_ND: Tensor) -> Tensor:
        """Logits (N, V)."""
        return self._map(nn.functional.linear(hidden_ND, self._weight_VD, self._bias_V))


def kept_head(head: OutputHead) -> dict[str, Tensor]:
    """What a `KeptHead` is loaded from: weights, and bias, scale and cap where there are any."""
    tensors = {"weight": head.weight.detach().float().cpu().contiguous()}
    if head.bias_V is not None:
        tensors["bias"] = head.bias_V.detach().float().cpu().contiguous()
    if head.logit_map.scale != 1:
        tensors["scale"] = torch.tensor(head.logit_map.scale, dtype=torch.float64)
    if head.logit_map.cap is not None:
        tensors["cap"] = torch.tensor(head.logit_map.cap, dtype=torch.float64)
    return tensors


class OfflineSignal:
    """The teacher cache, read once into memory.

    folders: by what they hold, a layer or the outputs.
    """

    def __init__(
        self, folders: Mapping[LayerRef, Path], examples: Examples, device: torch.device
    ) -> None:
        self._rows = {holds: _load(folder).to(device) for holds, folder in folders.items()}
        self._device = device
        self._head: KeptHead | None = None
        if OUTPUTS in folders and (folders[OUTPUTS] / HEAD_FILE).is_file():
            self._head = KeptHead(folders[OUTPUTS] / HEAD_FILE, device)
        self._starts: dict[LayerRef, list[int]] = {}
        for holds in folders:
            counts = [_count(examples, row, holds) for row in range(len(examples))]
            self._starts[holds] = [0, *accumulate(counts)]
            total, kept = self._starts[holds][-1], len(self._rows[holds])
            if total != kept:
                raise ValueError(f"the teacher cache has {kept} rows of {holds}, not {total}")

    def __call__(self, rows: Sequence[int], batch: Batch) -> TeacherRows:
        """The cached rows."""
        found = {}
        for holds, kept_ND in self._rows.items():
            starts = self._starts[holds]
            places = [p for row in rows for p in range(starts[row], starts[row + 1])]
            found[holds] = kept_ND[torch.tensor(places, dtype=torch.long, device=self._device)]
        return TeacherRows(
            {layer: part for layer, part in found.items() if layer != OUTPUTS},
            found.get(OUTPUTS),
            self._head,
        )


def _load(folder: Path) -> Tensor:
    files = sorted(folder.glob("chunk-*.safetensors"))
    if not files:
        raise FileNotFoundError(f"the teacher cache in {folder} holds no chunk")
    return torch.cat([load_file(file)["rows"] for file in files])


def _count(examples: Examples, row: int, holds: LayerRef) -> int:
    if holds == OUTPUTS:
        return examples.target_rows(row)
    return examples.feature_rows(row, stack_of(holds))


class OnlineSignal:
    """Runs the teacher on every batch.

    teacher: on the devices where the worker placed it.
    examples: encoded by the teacher's own tokenizer; None if it reads the student's batch, as it
        must when tokens are compared.
    precision: of its matrix products, `fp32` or `bf16`.
    """

    def __init__(
        self,
        teacher: nn.Module,
        layers: Sequence[LayerRef],
        *,
        outputs: bool,
        head: HeadOfRows | None,
        examples: Examples | None,
        device: torch.device,
        precision: str = "fp32",
    ) -> None:
        self._narrow = precision == "bf16"
        self._module = HiddenStateModel(teacher, layers, outputs=outputs).eval()
        self._layers, self._head, self._examples = layers, head, examples
        self._device = device

    @torch.no_grad()
    def __call__(self, rows: Sequence[int], batch: Batch) -> TeacherRows:
        """One forward of the teacher."""
        if self._examples is not None:
            batch = self._examples.batch(rows)
        kind = self._device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self._narrow):
            found = forward(self._module, batch, self._device)
        outputs = found.get(LOGITS if self._head is None else HEAD_INPUT)
        return TeacherRows(
            {layer: found[str(layer)].float() for layer in self._layers},
            None if outputs is None else outputs.float(),
            self._head,
        )
