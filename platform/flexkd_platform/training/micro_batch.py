"""A worker's micro-batches, before and after the student's forward.

Shapes: N rows compared, of the batch or of one micro-batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..tasks import Batch
from .teacher_signal import TeacherRows
from .worker import Worker


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Examples that a worker reads in one forward.

    rows: their indices; batch: the same examples as tensors.
    own: False for a worker without rows of a last, small batch: it runs on another worker's
        example, which is not counted, because all workers take part in the backward pass.
    label_weight: of the whole batch, as `Examples.label_weight` returns it.
    """

    rows: Sequence[int]
    batch: Batch
    own: bool
    label_weight: float | None = field(default=None, kw_only=True)

    @property
    def labels_N(self) -> Tensor:
        """The labels of the counted rows."""
        return self.batch.labels_N if self.own else self.batch.labels_N[:0]


@dataclass(frozen=True, eq=False)
class MicroBatchOutputs(MicroBatch):
    """A micro-batch, and what the models computed from it.

    out: outputs of the student and its hidden states at the counted rows.
    counts: by stack, how many feature rows of the whole batch each worker has; under "targets" the
        rows of outputs, and under "labels" those of them that have a label; all if absent.
    teacher: the teacher signal at the counted rows; None if the objective needs none.
    """

    out: Mapping[str, Tensor]
    counts: Mapping[str, Sequence[int]]
    teacher: TeacherRows | None = None


class Objective(ABC):
    """The loss of a batch, with its terms.

    adds_up: whether the loss of a batch is the sum over its micro-batches (with the whole batch's
        `counts`). It is not for a loss with statistics of the batch, such as a correlation.
    """

    adds_up: bool = False

    @abstractmethod
    def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
        """Terms by name, all scalars; `loss` is the one that is minimised.

        They are the same on every worker: rows are gathered.
        """

    def ask(self, share: MicroBatch) -> TeacherRows | None:
        """The teacher signal on a micro-batch; None without a teacher."""
        return None
