"""A worker's part of a batch, before and after the student has read it.

Shapes: N rows compared, of the batch or of one worker's part of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..tasks import Batch
from .teacher_signal import TeacherRows
from .worker import Worker


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Examples that a worker reads in one forward.

    rows: their numbers; batch: the same as tensors.
    own: False for a worker that has no part of a last, small batch: it runs on somebody else's
        example, of which nothing counts, because all workers take part in the backward pass.
    """

    rows: Sequence[int]
    batch: Batch
    own: bool

    @property
    def labels_N(self) -> Tensor:
        """The labels that count."""
        return self.batch.labels_N if self.own else self.batch.labels_N[:0]


@dataclass(frozen=True, eq=False)
class MicroBatchOutputs(MicroBatch):
    """A share, and what was made of it.

    out: outputs of the student and its hidden states at the rows that count.
    counts: by stack, how many feature rows each worker has of the whole batch; under "targets" the
        rows of outputs.
    teacher: its signal on the rows that count; None where the objective asks none.
    """

    out: Mapping[str, Tensor]
    counts: Mapping[str, Sequence[int]]
    teacher: TeacherRows | None = None


class Objective(ABC):
    """The loss of a batch, with its terms.

    adds_up: whether the loss of a batch is the sum of its parts' (with the whole batch's `counts`).
        A loss whose statistics are the batch's, as a correlation, does not.
    """

    adds_up: bool = False

    @abstractmethod
    def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
        """Terms by name, all scalars; `loss` is the one that is minimised.

        They are the same on every worker: parts are gathered.
        """

    def ask(self, share: MicroBatch) -> TeacherRows | None:
        """What the teacher says about a share; None without one."""
        return None
