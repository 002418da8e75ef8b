"""Each method's loss: L = α·L_feature + β·L_logit + λ·L_supervised (Eqs. 7 and 8).

Shapes: N rows compared, of the global batch or of this worker's micro-batch, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from flexkd_core import (
    LOGIT_LOSSES,
    RowTerm,
    chunked_rows_loss,
    per_label,
    same_vocabulary,
    squared_error,
    top_k_logits,
    unit_correlation,
)

from ..plan import stack_of
from ..spec import FEWEST_ROWS, LogitTerm, Method, Weights, multilabel, regresses
from ..tasks import has_label, head_of
from .feature_terms import FeatureScale, FeatureTerm, feature_loss
from .hidden_states import HEAD_INPUT, LOGITS
from .micro_batch import MicroBatch, MicroBatchOutputs, Objective
from .teacher_signal import TeacherRows, TeacherSignal
from .worker import Worker

CORRELATION_QUANTILES = {"correlation_p05": 0.05, "correlation_p50": 0.5, "correlation_p95": 0.95}
"""Logged of the correlation C_m of paired units, by name."""

CHUNK = 256
"""Rows whose logits are computed at a time."""


@dataclass(frozen=True, eq=False)
class DistillationObjective(Objective):
    """The terms of one method on a global batch.

    targets: the teacher signal; None for a method without a teacher.
    features: the pairs of layers; empty for a method without feature loss.
    head: the student's output head, for a language model.
    precision: of the head's matrix products.
    scale: multiplies the feature loss beside α; None for a method that does not normalise it.
    class_weights: of the supervised loss, (C,); None: 1 for every class.
    """

    method: Method
    task: str
    targets: TeacherSignal | None = None
    features: Sequence[FeatureTerm] = ()
    head: Any = None
    precision: str = "fp32"
    scale: FeatureScale | None = None
    class_weights: Tensor | None = None

    @property
    def adds_up(self) -> bool:  # type: ignore[override]
        """True for terms between outputs alone: features are compared over the whole batch."""
        return not self.features

    def ask(self, share: MicroBatch) -> TeacherRows | None:
        """The teacher signal on a micro-batch."""
        if self.targets is None:
            return None
        signal = self.targets(share.rows, share.batch)
        return signal if share.own else signal.none()

    def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
        """`loss` and its unweighted terms; a term with weight 0 is omitted."""
        weights, teacher = self.method.weights, part.teacher
        terms: dict[str, Tensor] = {}
        total: list[Tensor] = []
        if weights.supervised or weights.logit:
            found = self._output_terms(part, teacher, weights, worker)
            total.append(found.pop("loss"))
            terms |= found
        if self.features:
            terms |= self._feature_terms(part, teacher, worker)
            factor = weights.feature
            if self.scale is not None:
                factor *= self.scale.value
                terms["feature_scale"] = torch.tensor(self.scale.value)
            total.append(factor * terms["feature"])
        return {"loss": torch.stack(total).sum(), **terms}

    def _output_terms(
        self, part: MicroBatchOutputs, teacher: TeacherRows | None, weights: Weights, worker: Worker
    ) -> dict[str, Tensor]:
        """Sums over this worker's rows, divided by the rows of all workers, summed over workers."""
        rows = max(1, sum(part.counts["targets"]))
        wanted: dict[str, RowTerm] = {}
        if weights.supervised:
            wanted["supervised"] = RowTerm(weights.supervised, self._supervised(), "labels")
        if weights.logit:
            loss = logit_loss(self.method, self.task)
            paired_N = None if teacher is None else teacher.paired_N
            counted = None
            if paired_N is not None:
                stack = "decoder" if "decoder" in part.counts else ""
                counted = max(1, sum(part.counts[stack]))
            wanted["logit"] = RowTerm(weights.logit, loss, "teacher", paired_N, counted)
        labels_N = part.labels_N
        if self.head is None:
            outputs_NC = part.out[LOGITS]
            known_N = has_label(labels_N).to(outputs_NC.device)
            labels_N = labels_N.to(outputs_NC.device)
            sums = {}
            for name, term in wanted.items():
                if term.target == "labels":
                    values_N = term.loss(outputs_NC[known_N], labels_N[known_N], reduction="none")
                    labels = max(1, sum(part.counts.get("labels", part.counts["targets"])))
                    # A batch may have only labels whose weights are 0 or nearly so.
                    weight = labels if part.label_weight is None else part.label_weight
                    sums[name] = values_N.sum() / (weight or 1)
                else:
                    assert teacher is not None, "the logit term has a teacher"
                    assert teacher.outputs is not None, "the logit term reads the outputs"
                    values_N = term.loss(outputs_NC, teacher.outputs, reduction="none")
                    sums[name] = values_N.sum() / rows
            local = torch.stack([wanted[name].weight * value for name, value in sums.items()]).sum()
        else:
            hidden_ND = part.out[HEAD_INPUT]
            device = hidden_ND.device
            narrow = self.precision == "bf16"
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=narrow):
                chunked = chunked_rows_loss(
                    hidden_ND,
                    self.head.weight,
                    wanted,
                    student_bias_V=self.head.bias_V,
                    student_map=self.head.logit_map,
                    teacher_NV=None if teacher is None else teacher.logits,
                    labels_N=labels_N.to(device),
                    chunk=CHUNK,
                    denominator=rows,
                )
            local, sums = chunked.total, chunked.terms
        everyone = [1] * worker.size
        found = {
            name: worker.gather(value.detach()[None], everyone).sum()
            for name, value in sums.items()
        }
        return {"loss": worker.gather(local[None], everyone).sum(), **found}

    def _supervised(self) -> Any:
        """The supervised loss by row, with the class weights."""
        loss: Any = head_of(self.task).supervised
        if self.class_weights is None:
            return loss
        return partial(loss, class_weights=self.class_weights)

    def _feature_terms(
        self, part: MicroBatchOutputs, teacher: TeacherRows | None, worker: Worker
    ) -> dict[str, Tensor]:
        """The loss on the rows of all workers, with the statistics of the global batch.

        For a correlation, also its mean over the units, which is comparable across widths, and the
        quantiles of C_m over the units. For a loss that compares rows, whether the batch had too
        few, which contributes no gradient.
        """
        assert teacher is not None, "features are compared with a teacher's"
        loss = feature_loss(self.method)
        values, rows, units, pairs = [], [], 0, []
        for term in self.features:
            counts = part.counts[stack_of(term.student)]
            student_NS = worker.gather(part.out[str(term.student)], counts)
            matched_NS = worker.gather(term.matched(teacher.features[term.teacher]), counts)
            values.append(loss(student_NS, matched_NS, **term.loss_arguments(student_NS)))
            rows.append(len(student_NS))
            units += student_NS.shape[1]
            pairs.append((student_NS, matched_NS))
        found = {"feature": torch.stack(values).sum()}
        if (reduction := self.method.correlation) is not None:
            count = units if reduction == "sum" else len(values)
            found["feature_mean"] = found["feature"].detach() / count
            found |= correlation_quantiles(pairs)
        if self.method.compares_rows:
            found["skipped"] = torch.tensor(float(min(rows) < FEWEST_ROWS))
        return found


@torch.no_grad()
def correlation_quantiles(pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Quantiles of C_m (Eq. 6) over all paired units of all layers, on one batch, fp32.

    pairs: the student's features and those matched with them, by layer.
    """
    units = torch.cat(
        [unit_correlation(student_NS, matched_NS) for student_NS, matched_NS in pairs]
    )
    levels = torch.tensor(list(CORRELATION_QUANTILES.values()), dtype=units.dtype)
    found = units.quantile(levels.to(units.device))
    return dict(zip(CORRELATION_QUANTILES, found.float(), strict=True))


def uses_head(method: Method) -> bool:
    """Whether a term of the loss reads the student's outputs."""
    return bool(method.weights.supervised or method.weights.logit)


class _BetweenOutputs:
    """A logit loss with its settings bound, on the entries that both vocabularies share."""

    def __init__(self, term: LogitTerm) -> None:
        settings = term.settings
        self._top_k, self._divisor, self._scale = term.top_k, 1.0, 1.0
        self._any_vocabulary = term.any_vocabulary
        if term.top_k is not None:
            # The other classes form one bucket, so the temperature is applied before, by class.
            self._divisor = settings.pop("temperature")
            self._scale = term.scale
        self._loss = partial(LOGIT_LOSSES[term.name], **settings)

    def __call__(
        self, student_NC: Tensor, teacher_NC: Tensor, /, *, reduction: Literal["none"]
    ) -> Tensor:
        """Values by row."""
        if not self._any_vocabulary:
            student_NC, teacher_NC = same_vocabulary(student_NC, teacher_NC)
        if self._top_k is not None:
            student_NC, teacher_NC = top_k_logits(
                teacher_NC / self._divisor, student_NC / self._divisor, self._top_k
            )
        rows_N: Tensor = self._loss(student_NC, teacher_NC, reduction=reduction)
        return rows_N * self._scale


def _by_label(term: LogitTerm) -> Any:
    """A logit loss between the labels of a row, each by itself; their mean."""
    loss: Any = LOGIT_LOSSES[term.name]
    assert term.by_label != "none", "the preflight checks refuse it"
    if term.by_label == "logits":
        return partial(loss, **term.settings)
    return partial(per_label, loss, **term.settings)


def logit_loss(method: Method, task: str) -> Any:
    """The logit term of a method, by row; for regression, the squared difference."""
    term = method.logit_term
    assert method.uses_outputs, "the logit term has weight"
    assert term is not None, "a method that weighs a logit term has one"
    if regresses(task):
        return squared_error
    return _by_label(term) if multilabel(task) else _BetweenOutputs(term)
