"""Facts that planning needs in addition to the spec; the preflight checks collect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..spec import JobSpec
from .heads import HeadUse
from .layers import LayerRef, Stacks

ClassWeights = Literal["none", "balanced"] | tuple[float, ...]
"""Weights of the classes in the supervised loss: none, those of the classes in order, or balanced
by the training rows."""


@dataclass(frozen=True)
class Facts:
    """Facts about one trial's spec: its data, and the shapes of its teacher and student.

    Sizes are hidden units. `outputs` is the width of the head, or the vocabulary size for text.
    `scored` are the teacher layers that `score.layer` selects. `sets` are the fingerprints of the
    evaluation sets, `bertscore` that of its encoder. `word_rules` says by set or split how ROUGE
    reads its references, where not as `words`. `conversations`: whether the data hold messages;
    `chat_template` is a digest of the models' chat templates, if they are read. A source is where a
    worker loads a model from: an absolute folder, package:NAME, or a hub model pinned to its
    commit; "" for the name in the spec. `class_names` are the names of the head's outputs, empty
    without names. `same_tokenizer` is whether teacher and student share a tokenizer.
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
    word_rules: Mapping[str, str] = field(default_factory=dict)
    conversations: bool = False
    chat_template: str = ""
    teacher_source: str = ""
    student_source: str = ""
    bertscore_source: str = ""
    class_names: tuple[str, ...] = ()
    class_weights: ClassWeights = "none"
    teacher_head: HeadUse = field(default_factory=HeadUse)
    student_head: HeadUse = field(default_factory=HeadUse)
    same_tokenizer: bool = True


class FactsOf(Protocol):
    """Finds the facts of a spec; called for every point of the axes, so it caches them."""

    def __call__(self, spec: JobSpec) -> Facts:
        """The facts of `spec`."""
        ...
