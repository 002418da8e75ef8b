"""The training examples of a student and a teacher with different tokenizers, row by row.

Shapes: N rows whose outputs the student trains on, D hidden units of the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from ..plan import ResponseReading, stack_of
from ..tasks import (
    Batch,
    GenerationExamples,
    Mark,
    document_marks,
    paired_rows,
    response_marks,
)
from .teacher_signal import TeacherRows, TeacherSignal

RowsOfStack = Mapping[str, tuple[tuple[int, ...], ...]]
"""By stack, the rows of each example."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """The rows at which a student and its teacher have read the same characters.

    student: the student's examples, compared at `ours` alone.
    teacher: the teacher's examples with all their rows.
    ours, theirs: the paired rows of both, in the same order.
    """

    student: GenerationExamples
    teacher: GenerationExamples
    ours: RowsOfStack
    theirs: RowsOfStack

    @property
    def output_stack(self) -> str:
        """The stack whose rows predict the response."""
        return "decoder" if self.student.encoder_decoder else ""

    @property
    def share(self) -> float:
        """The share of the student's target rows that have a partner."""
        rows = sum(self.student.target_rows(row) for row in range(len(self.student)))
        return sum(map(len, self.ours[self.output_stack])) / rows


def align(
    student: GenerationExamples,
    teacher: GenerationExamples,
    tokenizers: tuple[Any, Any],
    table: pa.Table,
    reading: ResponseReading,
) -> Alignment:
    """Align the same examples in the tokens of both.

    Args:
        tokenizers: the student's and the teacher's, both fast.
        table: the examples.
        reading: how both read them.
    """
    sides = (student, teacher)
    texts = table["response"].to_pylist()
    marks: dict[str, list[list[list[Mark]]]] = {}
    stack = "decoder" if student.encoder_decoder else ""
    marks[stack] = [
        [
            response_marks(tokenizer, text, len(ids))
            for text, ids in zip(texts, side.responses, strict=True)
        ]
        for tokenizer, side in zip(tokenizers, sides, strict=True)
    ]
    if student.encoder_decoder:
        documents = table["prompt"].to_pylist()
        marks["encoder"] = [
            [document_marks(tokenizer, text, reading.max_prompt) for text in documents]
            for tokenizer in tokenizers
        ]
    pairs = {
        stack: [paired_rows(a, b) for a, b in zip(ours, theirs, strict=True)]
        for stack, (ours, theirs) in marks.items()
    }
    ours = {stack: tuple(a for a, _ in found) for stack, found in pairs.items()}
    theirs = {stack: tuple(b for _, b in found) for stack, found in pairs.items()}
    return Alignment(replace(student, compared=ours), teacher, ours, theirs)


class AlignedSignal:
    """The teacher signal at the student's rows.

    signal: gives the teacher's rows in its own tokens.
    """

    def __init__(self, signal: TeacherSignal, alignment: Alignment) -> None:
        self._signal, self._alignment = signal, alignment

    def __call__(self, rows: Sequence[int], batch: Batch) -> TeacherRows:
        """Features at the paired rows; outputs at all of the student's, 0 without a partner."""
        found, alignment = self._signal(rows, batch), self._alignment
        features = {}
        for layer, part_ND in found.features.items():
            stack = stack_of(layer)
            counts = [alignment.teacher.feature_rows(row, stack) for row in rows]
            features[layer] = part_ND[_places(rows, counts, alignment.theirs[stack], part_ND)]
        if found.outputs is None:
            return TeacherRows(features, None, found.head)
        stack = alignment.output_stack
        counts = [alignment.teacher.target_rows(row) for row in rows]
        theirs = _places(rows, counts, alignment.theirs[stack], found.outputs)
        counts = [alignment.student.target_rows(row) for row in rows]
        ours = _places(rows, counts, alignment.ours[stack], found.outputs)
        outputs_ND = found.outputs.new_zeros(sum(counts), found.outputs.shape[1])
        outputs_ND[ours] = found.outputs[theirs]
        paired_N = torch.zeros(sum(counts), dtype=torch.bool, device=outputs_ND.device)
        paired_N[ours] = True
        return TeacherRows(features, outputs_ND, found.head, paired_N)


def _places(
    rows: Sequence[int],
    counts: Sequence[int],
    chosen: Sequence[Sequence[int]],
    like: Tensor,
) -> Tensor:
    """The chosen rows of examples, as indices into their concatenated rows.

    counts: rows of each example; chosen: by example of the data set.
    """
    starts = [0, *accumulate(counts)]
    places = [
        start + place for start, row in zip(starts, rows, strict=False) for place in chosen[row]
    ]
    return torch.tensor(places, dtype=torch.long, device=like.device)
