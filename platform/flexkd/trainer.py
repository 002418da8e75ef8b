"""Flex-KD in the Trainer of Hugging Face transformers.

    flexkd_callback = FlexKdCallback(teacher, alpha=0.5)
    Trainer(model=student, args=arguments, train_dataset=data, callbacks=[flexkd_callback]).train()

Shapes: B examples, T tokens, S student units, D teacher units, N rows compared, C classes, V
vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset
from transformers import PreTrainedModel, TrainerCallback
from typing_extensions import override

from flexkd_core import (
    CLASS_LOSSES,
    FEATURE_LOSSES,
    ImportanceSum,
    matched_units,
    same_vocabulary,
    select_units,
    squared_error,
    unit_importance,
)
from flexkd_platform.model_info.families import final_norm
from flexkd_platform.models import HiddenStateHook, head_rows, hidden_layer, reads_mean
from flexkd_platform.models.family import family_of_config

IGNORED = -100
"""A token without a target."""

Pairing = Literal["rank", "matched"]


def feature_loss(
    student_BTS: Tensor,
    teacher_BTD: Tensor,
    rows_BT: Tensor,
    units: Sequence[int],
    *,
    loss: str = "correlation",
    mean: bool = False,
) -> Tensor:
    """The feature loss between a student's hidden states and selected units of its teacher's.

    Args:
        student_BTS, teacher_BTD: hidden states of one layer each, of the same tokens.
        rows_BT: bool, the tokens that are compared: those that the head reads.
        units: the teacher unit of each student unit, as `select_units` returns them.
        loss: a name in `flexkd_core.FEATURE_LOSSES`; the correlation loss is that of Flex-KD,
            Eq. 5: Σ_m (1 − C_m)².
        mean: compare the mean over each example's rows, for a head that reads the mean.

    Returns:
        A scalar, fp32 or wider.

    Raises:
        ValueError: the numbers of units differ.

    Source: Saadi & Wang 2025, arXiv:2507.10155.
    """
    student_NS = _rows(student_BTS, rows_BT, mean)
    teacher_NS = _rows(teacher_BTD, rows_BT, mean)[:, list(units)]
    return FEATURE_LOSSES[loss](student_NS, teacher_NS)


class FlexKdCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Adds the losses of Flex-KD to a student's own loss: L = α·L_feature + β·L_KD + λ·L (Eq. 8).

    When the training begins, the teacher's units are scored on a sample of the training examples
    (mean |∂F/∂h|, Eqs. 1 and 2), and as many as the student has are selected. In every training
    step the teacher reads the student's inputs, so both need one tokenizer. Losses of evaluations
    stay the model's own. With several processes, each compares the rows of its own batch.

    Args:
        teacher: a fine-tuned classifier, regressor or language model of the student's task.
        alpha: weight of the feature loss.
        beta: weight of KD, KL(teacher ‖ student) between outputs; squared error for regression.
        supervised: λ, weight of the student's own loss.
        temperature: of KD.
        units: the teacher unit of each student unit; None to select them.
        pairing: of selected units: `rank` as in the paper, or `matched` by the correlations of
            student and teacher on the sample before the training.
        loss: a name in `flexkd_core.FEATURE_LOSSES`.
        samples: training examples that are scored, at most.
        seed: of the sample.
        teacher_layer, student_layer: `last`, a number, or `decoder.-1`; the last when None.

    Raises:
        ValueError: no weight is positive, or a name is unknown.
    """

    units: list[int] | None

    def __init__(
        self,
        teacher: PreTrainedModel,
        *,
        alpha: float = 0.5,
        beta: float = 0.0,
        supervised: float = 1.0,
        temperature: float = 1.0,
        units: Sequence[int] | None = None,
        pairing: Pairing = "rank",
        loss: str = "correlation",
        samples: int = 800,
        seed: int = 0,
        teacher_layer: str | int | None = None,
        student_layer: str | int | None = None,
    ) -> None:
        if min(alpha, beta, supervised) < 0 or alpha + beta <= 0:
            raise ValueError(
                f"alpha {alpha}, beta {beta} and supervised {supervised} must not be negative, and "
                "alpha or beta must be positive: nothing else is distilled"
            )
        if loss not in FEATURE_LOSSES:
            raise ValueError(f"loss {loss!r} is not one of {', '.join(FEATURE_LOSSES)}")
        if pairing not in ("rank", "matched"):
            raise ValueError(f"pairing {pairing!r} is not one of rank, matched")
        self.teacher = teacher.eval().requires_grad_(False)
        self.units = None if units is None else list(units)
        self._weights = {"feature": alpha, "kd": beta, "supervised": supervised}
        self._temperature, self._loss, self._pairing = temperature, loss, pairing
        self._samples, self._seed = samples, seed
        self._layers = {"teacher": teacher_layer, "student": student_layer}
        self._accumulation = 1
        self._hooks: list[Any] = []
        self._logged: dict[str, list[float]] = {}

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Select the units, and add the losses to the student's forward."""
        student: PreTrainedModel = kwargs["model"]
        if args.n_gpu > 1:
            raise ValueError(
                "DataParallel copies the student without its hooks: start one process per GPU with "
                "torchrun, or make one GPU visible"
            )
        self.teacher.to(student.device)
        self._accumulation = args.gradient_accumulation_steps
        if self.units is None and self._weights["feature"]:
            self.units = self._select(student, kwargs["train_dataloader"])
        self._student_hook = HiddenStateHook(self._layer(student, "student"))
        self._teacher_hook = HiddenStateHook(self._layer(self.teacher, "teacher"))
        added = student.register_forward_hook(self._add_losses, with_kwargs=True)
        self._hooks = [self._student_hook, self._teacher_hook, added]

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the hooks from both models."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @override
    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the means of both terms since the last log, unweighted: `feature_loss`, `kd_loss`."""
        logs = kwargs.get("logs")
        if logs is not None and "loss" in logs:
            logs |= {name: sum(seen) / len(seen) for name, seen in self._logged.items()}
            state.log_history[-1] |= {name: logs[name] for name in self._logged}
            self._logged = {}

    def _add_losses(
        self, student: PreTrainedModel, args: tuple[Any, ...], inputs: dict[str, Any], output: Any
    ) -> Any:
        if not student.training or inputs.get("labels") is None:
            return output
        labels = inputs["labels"]
        with torch.no_grad():
            taught = self.teacher(**_accepted(self.teacher, inputs)).logits
        rows_BT = _compared(student, inputs)
        terms: dict[str, Tensor] = {}
        student_BTS, teacher_BTD = self._student_hook.take(), self._teacher_hook.take()
        if self._weights["feature"]:
            assert self.units is not None, "selected when the training began"
            terms["feature"] = feature_loss(
                student_BTS,
                teacher_BTD,
                rows_BT,
                self.units,
                loss=self._loss,
                mean=labels.ndim == 1 and reads_mean(student),
            )
        if self._weights["kd"]:
            by_token = labels.ndim > 1
            ours_NC = output.logits[rows_BT] if by_token else output.logits
            theirs_NC = taught[rows_BT] if by_token else taught
            terms["kd"] = self._kd(ours_NC, theirs_NC)
        # Where the model's own loss is a share of the accumulated batch, the Trainer adds up the
        # losses of its parts; otherwise it divides them by their number.
        parts = 1 if inputs.get("num_items_in_batch") is None else self._accumulation
        total = self._weights["supervised"] * output.loss
        for name, value in terms.items():
            self._logged.setdefault(f"{name}_loss", []).append(float(value.detach()))
            total = total + self._weights[name] / parts * value
        output["loss"] = total
        return output

    def _kd(self, student_NC: Tensor, teacher_NC: Tensor) -> Tensor:
        if student_NC.shape[-1] == 1:
            return squared_error(student_NC, teacher_NC)
        student_NC, teacher_NC = same_vocabulary(student_NC, teacher_NC)
        return CLASS_LOSSES["forward_kl"](student_NC, teacher_NC, temperature=self._temperature)

    def _select(self, student: PreTrainedModel, loader: DataLoader[Any]) -> list[int]:
        """Score the teacher's units on a sample, and select as many as the student has."""
        mode = student.training
        total, pairs = None, []
        hook = HiddenStateHook(self._layer(student, "student"))
        for batch in _batches(loader, self._samples, self._seed, student.device):
            rows_BT = _compared(student, batch)
            importance = unit_importance(
                partial(_scored_outputs, self.teacher, batch),
                self._layer(self.teacher, "teacher"),
                rows_BT,
                output=_output_name(self.teacher, batch),
            )
            own = ImportanceSum.of(importance)
            total = own if total is None else total + own
            if self._pairing == "matched":
                with torch.no_grad():
                    student.eval()(**_accepted(student, batch))
                mean = batch["labels"].ndim == 1 and reads_mean(student)
                sides = (hook.take(), importance.hidden_BTD)
                pairs.append([_rows(side, rows_BT, mean).double().cpu().numpy() for side in sides])
        hook.remove()
        student.train(mode)
        if total is None:
            raise ValueError("there is no training example with labels to score the teacher on")
        units = select_units(total.mean(), student.config.hidden_size)
        if not pairs:
            return units
        student_NS, teacher_ND = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return matched_units(student_NS, teacher_ND, units)

    def _layer(self, model: PreTrainedModel, side: str) -> nn.Module:
        given = self._layers[side]
        return hidden_layer(model, _last_layer(model) if given is None else given)


def _last_layer(model: PreTrainedModel) -> str | int:
    """The final norm of the stack that writes the output, or its last block without one."""
    stacks = family_of_config(model.config).stacks
    name = "decoder" if "decoder" in stacks else ""
    place = -1 if final_norm(model.config, stacks[name]) is None else "last"
    return f"{name}.{place}" if name else place


def _compared(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Tensor:
    """(B, T) bool: the positions that the head reads, or that predict a labelled token."""
    labels = inputs["labels"]
    if labels.ndim == 1:
        mask = inputs.get("attention_mask")
        ids = inputs["input_ids"]
        return head_rows(model, ids, torch.ones_like(ids) if mask is None else mask)
    targets_BT: Tensor = labels != IGNORED
    if model.config.is_encoder_decoder:
        return targets_BT
    # A causal model's position t predicts token t + 1; its last position predicts none.
    return torch.cat([targets_BT[:, 1:], torch.zeros_like(targets_BT[:, :1])], dim=1)


def _rows(hidden_BTD: Tensor, rows_BT: Tensor, mean: bool) -> Tensor:
    """The compared rows (N, D), or their mean in each example (B, D)."""
    if not mean:
        return hidden_BTD[rows_BT]
    weights_BT = rows_BT.to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT[..., None]).sum(1) / weights_BT.sum(1, keepdim=True)


def _scored_outputs(teacher: PreTrainedModel, batch: Mapping[str, Any]) -> Tensor:
    """The logits (B, C), or (B, 1) Σ_t log p(y_t) of the labelled tokens, in nats."""
    logits: Tensor = teacher(**_accepted(teacher, batch)).logits
    labels = batch["labels"]
    if labels.ndim == 1:
        return logits
    rows_BT = _compared(teacher, batch)
    shift = 0 if teacher.config.is_encoder_decoder else 1
    labels_BT = labels.roll(-shift, dims=1).where(rows_BT, 0)
    logprob_BT = logits.float().log_softmax(-1).gather(2, labels_BT[..., None])[..., 0]
    return (logprob_BT * rows_BT).sum(1, keepdim=True)


def _output_name(teacher: PreTrainedModel, batch: Mapping[str, Any]) -> str:
    classes = batch["labels"].ndim == 1 and teacher.config.num_labels > 1
    return "predicted_logit" if classes else "value"


def _accepted(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a model's forward takes, without labels; a decoder's are made from them."""
    known = inspect.signature(model.forward).parameters
    found = {name: value for name, value in inputs.items() if name in known and name != "labels"}
    labels, starts = inputs["labels"], found.get("decoder_input_ids")
    if model.config.is_encoder_decoder and labels.ndim > 1 and starts is None:
        found["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels)
    return found


def _batches(
    loader: DataLoader[Any], samples: int, seed: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """A drawn sample of a loader's examples in batches; the loader itself is not advanced."""
    data: Any = loader.dataset
    size = loader.batch_size or loader.batch_sampler.batch_size  # type: ignore[union-attr]
    if not isinstance(data, IterableDataset):
        generator = torch.Generator().manual_seed(seed)
        data = Subset(data, torch.randperm(len(data), generator=generator)[:samples].tolist())
    seen = 0
    for batch in DataLoader(data, batch_size=size, collate_fn=loader.collate_fn):
        if batch.get("labels") is None or seen >= samples:
            return
        seen += len(batch["labels"])
        yield {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }
