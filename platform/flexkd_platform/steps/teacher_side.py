"""The teacher's side of a distillation: its signal, and the features that the student matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from ..artifacts import (
    Artifacts,
    read_direction_weights,
    read_directions,
    read_unit_weights,
    read_units,
)
from ..models import label_unit
from ..plan import (
    DistillConfig,
    LabelReading,
    LayerRef,
    OfflineTeacher,
    OnlineTeacher,
    ReselectConfig,
    ResponseReading,
    SelectConfig,
    Step,
)
from ..spec import UnitSelection
from ..tasks import Examples, GenerationExamples, decoder_start
from ..training.alignment import AlignedSignal, Alignment, align
from ..training.encoding import encode
from ..training.feature_terms import FeatureTerm, paired_units
from ..training.teacher_signal import ConvertedSignal, OfflineSignal, OnlineSignal, TeacherSignal
from .context import RunContext
from .teacher_model import language_head, load_teacher, load_teacher_tokenizer


@dataclass(frozen=True)
class TeacherSide:
    """The teacher of a distillation; without one, all fields except `terms` have their defaults.

    terms: the pairs of layers whose features are compared.
    signal: the teacher signal on the training examples, offline or online.
    model: the teacher itself, if it is online.
    examples: the training examples, encoded by the teacher's own tokenizer; None if the teacher
        reads the student's batch.
    alignment: the paired tokens, for text and a teacher with another tokenizer.
    """

    terms: Sequence[FeatureTerm] = ()
    signal: TeacherSignal | None = None
    model: Any = None
    examples: Examples | None = None
    alignment: Alignment | None = None
    reselect: ReselectConfig | None = None

    def converted(self, factor: float, shift: float) -> TeacherSide:
        """The same side with outputs in another unit: `outputs · factor + shift`."""
        if self.signal is None or (factor, shift) == (1.0, 0.0):
            return self
        return replace(self, signal=ConvertedSignal(self.signal, factor, shift))


def teacher_side(
    config: DistillConfig,
    inputs: Artifacts,
    context: RunContext,
    data: Examples,
    table: pa.Table,
    tokenizer: Any,
) -> TeacherSide:
    """Load the teacher side of a distillation.

    Args:
        data: the training examples as encoded for the student.
        table: their rows.
        tokenizer: the student's.
    """
    terms = [
        FeatureTerm(ours, theirs, **_matched(config, theirs, inputs))
        for ours, theirs in config.layers
    ]
    if config.teacher is None:
        return TeacherSide(terms)
    if isinstance(config.teacher, OfflineTeacher):
        folders = {cache.config.holds: inputs.folder(cache) for cache in config.teacher.caches}
        alignment = None
        if config.aligned is not None:
            theirs = load_teacher_tokenizer(config.aligned, inputs)
            # The start token is not read: the teacher's rows are in its caches.
            start = getattr(data, "decoder_start_id", None)
            alignment = _alignment(config, data, table, (tokenizer, theirs), start)
        examples = data if alignment is None else alignment.teacher
        signal: TeacherSignal = OfflineSignal(folders, examples, context.worker.device)
        if alignment is not None:
            signal = AlignedSignal(signal, alignment)
        return TeacherSide(terms, signal, alignment=alignment)
    return _online(config, config.teacher, inputs, context, data, table, tokenizer, terms)


def _alignment(
    config: DistillConfig,
    data: Examples,
    table: pa.Table,
    tokenizers: tuple[Any, Any],
    decoder_start_id: int | None,
) -> Alignment:
    """The student's examples aligned with the teacher's, from the same rows."""
    assert config.aligned is not None, "models with one tokenizer are not aligned"
    reading = config.aligned.config.reading
    teacher = encode(table, tokenizers[1], reading, decoder_start_id=decoder_start_id)
    assert isinstance(data, GenerationExamples), "pooled rows are not aligned"
    assert isinstance(teacher, GenerationExamples)
    assert isinstance(reading, ResponseReading)
    return align(data, teacher, tokenizers, table, reading)


def _online(
    config: DistillConfig,
    source: OnlineTeacher,
    inputs: Artifacts,
    context: RunContext,
    data: Examples,
    table: pa.Table,
    own_tokenizer: Any,
    terms: Sequence[FeatureTerm],
) -> TeacherSide:
    model, tokenizer = load_teacher(source.teacher, inputs)
    model = context.worker.place(model, context.spread_teacher).eval()
    reading, examples, alignment = source.teacher.config.reading, None, None
    if isinstance(reading, LabelReading):
        examples = encode(table, tokenizer, reading, unit=label_unit(model))
    if config.aligned is not None:
        pair = (own_tokenizer, tokenizer)
        alignment = _alignment(config, data, table, pair, decoder_start(model))
        examples = alignment.teacher
    outputs = config.method.uses_outputs
    signal: TeacherSignal = OnlineSignal(
        model,
        list(dict.fromkeys(term.teacher for term in terms)),
        outputs=outputs,
        head=language_head(model, reading) if outputs else None,
        examples=examples,
        device=context.worker.device,
        precision=config.recipe.precision,
    )
    if alignment is not None:
        signal = AlignedSignal(signal, alignment)
    return TeacherSide(terms, signal, model, examples, alignment, config.reselect)


def _matched(config: DistillConfig, layer: LayerRef, inputs: Artifacts) -> dict[str, Tensor]:
    """The selected units or directions of a teacher layer and their weights, for Flex-KD."""
    for selection in config.selections:
        if selection.config.layer == layer:
            chosen = config.method.selection
            assert chosen is not None, "a selection is made for a method that selects"
            if chosen.directions:
                return _matched_directions(selection, inputs, chosen)
            units = read_units(selection, inputs)
            found = {"units": paired_units(chosen.pairing, units)}
            if chosen.weights == "importance":
                found["weights"] = _by_unit(read_unit_weights(selection, inputs))
            return found
    return {}


def _matched_directions(
    selection: Step[SelectConfig], inputs: Artifacts, chosen: UnitSelection
) -> dict[str, Tensor]:
    found = {"directions_TC": torch.from_numpy(read_directions(selection, inputs)).float()}
    if chosen.weights == "spectrum":
        found["weights"] = torch.from_numpy(read_direction_weights(selection, inputs))
    return found


def _by_unit(weights: Mapping[int, float]) -> Tensor:
    """The weights at the indices of their units, 0 elsewhere; fp64."""
    by_unit = torch.zeros(max(weights) + 1, dtype=torch.float64)
    by_unit[list(weights)] = torch.tensor(list(weights.values()), dtype=torch.float64)
    return by_unit
