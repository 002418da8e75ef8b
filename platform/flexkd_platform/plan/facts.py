"""Facts that planning needs in addition to the spec; the preflight checks collect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..spec import JobSpec
from .layers import LayerRef, Stacks


@dataclass(frozen=True)
class Facts:
    """Facts about one trial's spec: its data, and the shapes of its teacher and student.

    Sizes are hidden units. `outputs` is the width of the head, or the vocabulary size for text.
    `scored` are the teacher layers that `score.layer` selects. `sets` are the fingerprints of the
    evaluation sets, `bertscore` that of its encoder. A source is where a worker loads a model from:
    an absolute folder, package:NAME, or a hub model pinned to its commit; "" for the name in the
    spec. `same_tokenizer` is whether teacher and student share a tokenizer.
    """

    data_fingerprint: str
    train_rows: int
    outputs: int
    teacher_fingerprint: str
    teacher_hidden: int
    teacher_stacks: Stacks
    scored: tuple[LayerRef, ...]
    student_fingerprint: str
    student_hidden: int
    student_stacks: Stacks
    sets: Mapping[str, str] = field(default_factory=dict)
    bertscore: str = ""
    teacher_source: str = ""
    student_source: str = ""
    bertscore_source: str = ""
    same_tokenizer: bool = True


class FactsOf(Protocol):
    """Finds the facts of a spec; called for every point of the axes, so it caches them."""

    def __call__(self, spec: JobSpec) -> Facts:
        """The facts of `spec`."""
        ...
