"""The training of one student, by any method."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flexkd_core import Projector

from ..artifacts import (
    Artifacts,
    LabelUnit,
    Response,
    read_responses,
    read_rows,
    write_log,
    write_pairs,
)
from ..models import add_lora, label_unit, save_model
from ..plan import DistillConfig, ResponseReading, TrainingConfig
from ..tasks import Examples, decoder_start
from ..tracking import Progress, StepMetrics
from ..training.before_training import gradient_scale, sample_rows
from ..training.checkpoint import copy_of_weights, put_weights
from ..training.class_weights import class_weights, weighed
from ..training.encoding import encode, end_of_response
from ..training.feature_terms import FeatureScale
from ..training.hidden_states import HiddenStateModel
from ..training.lengths import lengths_json
from ..training.loop import train
from ..training.metrics import better, compute_metrics, multilabel_cut
from ..training.objective import DistillationObjective, uses_head
from ..training.pairing import SamplePairing
from ..training.reselect import Reselection
from ..training.resume import Resumption, TrainingState
from ..training.rollout import Rollout
from ..training.worker import torch_threads
from .context import Output, RunContext
from .initial_student import initial_student, origin_of, saved_base
from .student_rows import masked, student_rows
from .teacher_model import label_summary, language_head
from .teacher_side import TeacherSide, teacher_side


def train_student(
    config: TrainingConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Train one student and publish its folder, its log and its last loss.

    `model/` is the output of `save_pretrained`; `log.parquet` has one row per metric and step;
    `pairs.json` has the teacher units that the student's are paired with, where they are.
    Every worker runs this; the first one publishes.
    """
    worker = context.worker
    with torch_threads(context.threads), torch.random.fork_rng():
        torch.manual_seed(config.seed)
        training = StudentTraining(config, inputs, out, context)
        if worker.size > 1:
            # The same student on every worker, but not the same dropout.
            torch.manual_seed((config.seed * 1_000_003 + worker.rank) % 2**63)
        yield from training.run()
        weights = worker.whole(training.module)
        if worker.rank == 0:
            with out.publish(training.resumption.since) as draft:
                draft.summary |= training.save(draft.folder, weights)
            training.resumption.drop()


class StudentTraining:
    """The student, its data, its loss, and the state of its training."""

    def __init__(
        self, config: TrainingConfig, inputs: Artifacts, out: Output, context: RunContext
    ) -> None:
        since = time.perf_counter()
        self.config, self.context, self.worker = config, context, context.worker
        distill = config if isinstance(config, DistillConfig) else None
        dataset = inputs.folder(config.dataset)
        table = read_rows(dataset, "train")
        responses = None
        if distill is not None and distill.generated is not None:
            responses = read_responses(distill.generated, inputs)
        self.rows = student_rows(config, table)
        teachers = LabelUnit.of_table(table) if config.reading.regresses else None
        # No label of another row is read, whatever the loss is.
        table = masked(table, self.rows.labelled)
        own = LabelUnit.of_table(table) if config.reading.regresses else None
        self.model, self.tokenizer = initial_student(config, inputs, own)
        lora = config.student.lora
        self.lora = None if lora is None else add_lora(self.model, lora, seed=config.seed)
        self.data = self._encoded(table, responses, training=True)
        self.class_weights = class_weights(config.reading, self.data)
        self.data = weighed(self.data, self.class_weights)
        self.validation = self._encoded(read_rows(dataset, "validation"))
        teacher = TeacherSide()
        if distill is not None:
            teacher = teacher_side(distill, inputs, context, self.data, table, self.tokenizer)
            if own is not None and teachers is not None:
                teacher = teacher.converted(*teachers.conversion(own))
        self.alignment = teacher.alignment
        if self.alignment is not None:
            self.data = self.alignment.student
        self.terms = teacher.terms
        self.module = self._module(teacher)
        self.scale = FeatureScale() if config.method.normalises else None
        self.objective = self._objective(teacher)
        self.before_step = self._reselection(teacher) or self._pairing(teacher, inputs)
        self.draw = self._rollout(teacher)
        self.state = TrainingState()
        self.resumption = Resumption(
            out.step,
            out.store,
            self.worker,
            self.state,
            since=since,
            seed=config.seed,
            every=context.checkpoint_steps,
            terms=self.terms,
            scale=self.scale,
        )

    def _encoded(
        self,
        table: pa.Table,
        responses: Sequence[Response] | None = None,
        *,
        training: bool = False,
    ) -> Examples:
        return encode(
            table,
            self.tokenizer,
            self.config.reading,
            responses=responses,
            decoder_start_id=decoder_start(self.model),
            training=training,
            unit=label_unit(self.model),
        )

    def _module(self, teacher: TeacherSide) -> HiddenStateModel:
        """The student, with extraction of the hidden states that are compared."""
        return HiddenStateModel(
            self.model,
            [term.student for term in self.terms],
            outputs=uses_head(self.config.method),
            projectors=self._projectors(teacher),
        )

    def _projectors(self, teacher: TeacherSide) -> list[nn.Module]:
        method = self.config.method
        if not (method.projects and method.uses_features):
            return []
        assert teacher.signal is not None, "a projector has a teacher to project to"
        generator = torch.Generator().manual_seed(self.config.seed)
        rows = teacher.signal([0], self.data.batch([0]))
        own = width_of(self.model)
        widths = [rows.features[term.teacher].shape[1] for term in self.terms]
        return [Projector(own, width, generator) for width in widths]

    def _objective(self, teacher: TeacherSide) -> DistillationObjective:
        method, reading = self.config.method, self.config.reading
        return DistillationObjective(
            method,
            reading.task,
            teacher.signal,
            self.terms,
            language_head(self.model, reading) if uses_head(method) else None,
            self.config.recipe.precision,
            self.scale,
            self.class_weights,
        )

    def _normalise(self) -> None:
        """Set the scale of the feature loss; every worker computes the same on the same sample."""
        method, reading, seed = self.config.method, self.config.reading, self.config.seed
        signal = self.objective.targets
        if self.scale is None or signal is None:
            return
        self.scale.value = gradient_scale(
            self.module,
            self.data,
            method,
            self.terms,
            signal,
            [self.rows.labelled[place] for place in sample_rows(len(self.rows.labelled), seed)],
            task=reading.task,
            head=language_head(self.model, reading),
            device=self.worker.device,
            class_weights=self.class_weights,
        )

    def _reselection(self, teacher: TeacherSide) -> Reselection | None:
        if teacher.reselect is None:
            return None
        selection = self.config.method.selection
        assert selection is not None, "a method without units selects none anew"
        return Reselection(
            selection,
            teacher.model,
            self.terms,
            teacher.reselect,
            width_of(self.model),
            examples=teacher.examples,
            worker=self.worker,
        )

    def _pairing(self, teacher: TeacherSide, inputs: Artifacts) -> SamplePairing | None:
        """Pair the units by their features; None for a pairing by rank or index."""
        config, selection = self.config, self.config.method.selection
        if not self.terms or selection is None or not selection.pairs_by_sample:
            return None
        assert teacher.signal is not None, "a method that selects units has a teacher"
        origins = {}
        if selection.pairing == "origin":
            origins = {term.teacher: origin_of(config.student, inputs) for term in self.terms}
        pairing = SamplePairing(
            selection,
            self.module,
            self.data,
            teacher.signal,
            self.terms,
            self.worker,
            rows=self.rows.read,
            seed=config.seed,
            origins=origins,
        )
        pairing.pair()
        return pairing

    def _rollout(self, teacher: TeacherSide) -> Rollout | None:
        method, reading = self.config.method, self.config.reading
        if method.draws is None:
            return None
        assert isinstance(reading, ResponseReading), "checked: only tasks that write text draw"
        return Rollout(
            method.draws,
            self.model,
            teacher.model,
            self.data,  # type: ignore[arg-type]  # as its reading
            eos_id=end_of_response(self.tokenizer, reading),
            seed=self.config.seed,
            device=self.worker.device,
        )

    def run(self) -> Iterator[Progress]:
        """Run all training steps, with validation metrics at the end of each epoch."""
        self._normalise()  # before the worker wraps the module
        recipe = self.config.recipe
        per_epoch = recipe.epoch_steps(self.rows.epoch)
        for progress in train(
            self.module,
            self.data,
            self.objective,
            recipe,
            self.worker,
            draw=self.draw,
            before_step=self.before_step,
            micro_batch=self.context.micro_batch,
            begin=self.resumption.begin,
            rows=self.rows.read,
            epoch=self.rows.epoch,
        ):
            assert progress.metrics is not None
            entry = progress.metrics
            epoch_ends = progress.done % per_epoch == 0 or progress.done == progress.total
            if epoch_ends:
                entry = StepMetrics(entry.step, {**entry.values, **self._validate()})
            self.state.log.append(entry)
            self.resumption.reached(progress.done, progress.total, epoch_ends)
            yield replace(progress, metrics=entry)
        if self.state.best_weights is not None:
            put_weights(self.module, self.state.best_weights)

    def _validate(self) -> dict[str, float]:
        """Compute the validation metrics; keeps the best epoch's weights if `keep` is `best`."""
        task, state, device = self.config.reading.task, self.state, self.worker.device
        cut = multilabel_cut(self.config.reading, self.model, lambda: self.validation, device)
        found = compute_metrics(self.model, self.validation, task, "validation", device, cut)
        self.worker.settle(self.module)
        if self.config.keep == "best" and better(task, found, state.best):
            state.best, state.best_weights = found, copy_of_weights(self.module)
        return {f"validation/{name}": value for name, value in found.items()}

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None) -> dict[str, Any]:
        """Write the student, its projectors, pairs and log; returns the summary of the manifest.

        weights: the full weights of the module, if the worker only has its shard of them.
        """
        self.module.close()
        counts = self._save_model(folder / "model", weights)
        if self.module.projectors:
            projectors = self.module.projectors.state_dict()
            kept = projectors if weights is None else _below("projectors.", weights)
            save_file(dict(kept), folder / "projector.safetensors")
        write_pairs((term.pairs() for term in self.terms), folder)
        log, best = self.state.log, self.state.best
        write_log(log, folder / "log.parquet")
        last = log[-1].values
        validation = {k: v for k, v in last.items() if k.startswith("validation/")}
        if best is not None:
            validation = {f"validation/{name}": value for name, value in best.items()}
        clipped = [e.values["train/clipped"] for e in log if "train/clipped" in e.values]
        skipped = sum(entry.values.get("train/skipped", 0.0) for entry in log)
        scale = {} if self.scale is None else {"feature_scale": self.scale.value}
        return {
            **counts,
            "steps": len(log),
            "lengths": {
                "train": lengths_json(self.data),
                "validation": lengths_json(self.validation),
            },
            **({} if self.config.rows is None else {"labels": len(self.rows.labelled)}),
            **scale,
            **label_summary(self.model),
            **({} if self.alignment is None else {"aligned_share": self.alignment.share}),
            # The log of a training that an earlier version began lacks its first steps.
            "clipped_share": sum(clipped) / max(1, len(clipped)),
            "metrics": {
                "train/loss": last["train/loss"],
                **({"train/skipped_batches": skipped} if skipped else {}),
                **validation,
            },
        }

    def _save_model(self, folder: Path, weights: Mapping[str, Tensor] | None) -> dict[str, int]:
        """Write the student, or its adapter; returns how many parameters it has."""
        if self.lora is None:
            own = None if weights is None else _below("model.", weights)
            save_model(self.model, self.tokenizer, folder, own)
            return {"parameters": sum(p.numel() for p in self.model.parameters())}
        assert weights is None, "the preflight checks refuse sharded adapters"
        counts = {
            "parameters": self.lora.parameters(),
            "trainable_parameters": self.lora.trainable(),
        }
        student = self.config.student
        if student.lora is not None and student.lora.export == "merged":
            save_model(self.lora.merge(), self.tokenizer, folder)
        else:
            self.lora.save(self.tokenizer, folder, saved_base(student))
        return counts


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a submodule, by their names in it."""
    return {
        name.removeprefix(prefix): weight.contiguous()
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def width_of(model: Any) -> int:
    """d_S or d_T, the hidden size of a model."""
    return int(model.config.hidden_size)
