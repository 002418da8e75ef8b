"""The distillation step: one student, trained by one method with one seed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

from flexkd_core import Projector

from ..models import build_student, load_saved, load_tokenizer, locate, save_model
from ..plan import LayerRef, Step, stack_of, uses_features, uses_outputs
from ..spec import (
    FlexKd,
    Method,
    PretrainedInit,
    ProjectorDistillation,
    Resources,
    StudentInit,
    TeacherMethod,
)
from ..store import Store
from ..tasks import Examples, decoder_start
from ..tracking import StepMetrics
from ..training.checkpoint import copy_of_weights, put_weights
from ..training.encoding import GENERATION, encode
from ..training.feature_terms import FeatureTerm, paired_units
from ..training.hidden_states import TappedModel
from ..training.loop import Progress, Recipe, train
from ..training.metrics import better, measure
from ..training.objective import DistillationObjective, parse_method, uses_head
from ..training.reselect import Reselection
from ..training.resume import Course, Resumption
from ..training.rollout import Rollout
from ..training.teacher_signal import CachedTargets, LiveTargets, Targets
from ..training.worker import Worker, torch_threads
from .dataset import read_rows
from .generate import read_responses
from .select import read_directions, read_units
from .teacher import language_head, load_teacher, model_source

ALONE = Resources()
"""One worker, one thread, the whole batch at a time."""


def make_student(
    step: Step, store: Store, worker: Worker, resources: Resources
) -> Iterator[Progress]:
    """Train one student and publish its folder, its log and its last loss.

    `model/` is what `save_pretrained` writes; `log.parquet` holds one row a metric and step. Every
    worker runs this; the first one publishes.
    """
    with torch_threads(resources.trial_cpus), torch.random.fork_rng():
        torch.manual_seed(step.identity["seed"])
        training = _Training(step, store, worker, resources)
        if worker.size > 1:
            # The same student on every worker, but not the same dropout.
            torch.manual_seed((step.identity["seed"] * 1_000_003 + worker.rank) % 2**63)
        yield from training.run()
        weights = worker.whole(training.module)
        if worker.rank == 0:
            with store.publish(step, training.resumption.since) as draft:
                draft.summary |= training.save(draft.folder, weights)
            training.resumption.drop()


class _Training:
    """Everything one student's training is made of."""

    def __init__(
        self, step: Step, store: Store, worker: Worker, resources: Resources = ALONE
    ) -> None:
        since = time.perf_counter()
        self.step, self.store, self.worker, self.resources = step, store, worker, resources
        identity = self.identity = step.identity
        self.method: Method = parse_method(identity["method"])
        self.model, self.tokenizer = _initial_student(step, store)
        dataset = store.folder(step.needs["dataset"])
        self.table = read_rows(dataset, "train")
        responses = None
        if "generated" in step.needs:
            responses = read_responses(step.needs["generated"], store)
        start_id = decoder_start(self.model)
        self.data = encode(
            self.table,
            self.tokenizer,
            identity,
            responses=responses,
            decoder_start_id=start_id,
        )
        self.validation = encode(
            read_rows(dataset, "validation"),
            self.tokenizer,
            identity,
            decoder_start_id=start_id,
        )
        self.course = Course()
        self._teach()
        self.resumption = Resumption(
            step,
            store,
            worker,
            self.course,
            since=since,
            seed=identity["seed"],
            every=resources.checkpoint_steps,
            terms=self.terms,
        )

    def _teach(self) -> None:
        """The teacher's side: what it says, what of it is matched, and through what."""
        identity, method = self.identity, self.method
        pairs: Sequence[tuple[LayerRef, LayerRef]] = [
            (ours, theirs) for ours, theirs in identity.get("layers", ())
        ]
        self.terms = [FeatureTerm(ours, theirs, **self._matched(theirs)) for ours, theirs in pairs]
        teacher, read = None, None
        if "teacher" in self.step.needs:
            teacher, tokenizer = load_teacher(self.step.needs["teacher"], self.store)
            teacher = self.worker.place(teacher, self.resources.spreads_teacher).eval()
            if identity["task"] not in GENERATION:
                read = encode(self.table, tokenizer, self.step.needs["teacher"].identity)
        targets = self._targets(teacher, read, [theirs for _, theirs in pairs])
        projectors = self._projectors(targets, pairs)
        self.module = TappedModel(
            self.model,
            [ours for ours, _ in pairs],
            outputs=uses_head(method),
            projectors=projectors,
        )
        self.objective = DistillationObjective(
            method,
            identity["task"],
            targets,
            self.terms,
            language_head(self.model, identity) if uses_head(method) else None,
            self.precision,
        )
        self.before_step = None
        if "reselect" in identity:
            assert isinstance(method, FlexKd)
            self.before_step = Reselection(
                method,
                teacher,
                self.terms,
                identity["reselect"],
                width_of(self.model),
                examples=read,
                worker=self.worker,
            )
        self.draw = None
        if isinstance(method, TeacherMethod) and method.on_policy is not None:
            self.draw = Rollout(
                method.on_policy,
                self.model,
                teacher,
                self.data,  # type: ignore[arg-type]  # checked: only tasks that write text draw
                eos_id=self.tokenizer.eos_token_id,
                seed=identity["seed"],
                device=self.worker.device,
            )

    def _matched(self, layer: LayerRef) -> dict[str, Any]:
        """The selected units or directions of a teacher layer, for Flex-KD."""
        step = self.step.needs.get(f"select {layer}")
        if step is None:
            return {}
        assert isinstance(self.method, FlexKd)
        if self.method.target == "directions":
            directions_TS = torch.from_numpy(read_directions(step, self.store)).float()
            return {"directions_TS": directions_TS}
        return {"units": paired_units(self.method, read_units(step, self.store))}

    def _targets(
        self, teacher: Any, read: Examples | None, layers: Sequence[LayerRef]
    ) -> Targets | None:
        caches = {
            role.removeprefix("cache "): needed
            for role, needed in self.step.needs.items()
            if role.startswith("cache ")
        }
        if caches:
            folders = {
                cache.identity["holds"]: self.store.folder(cache) for cache in caches.values()
            }
            return CachedTargets(folders, self.data, self.worker.device)
        if teacher is None:
            return None
        outputs = uses_outputs(self.method)
        return LiveTargets(
            teacher,
            list(dict.fromkeys(layers)),
            outputs=outputs,
            head=language_head(teacher, self.identity) if outputs else None,
            examples=read,
            device=self.worker.device,
            precision=self.precision,
        )

    @property
    def precision(self) -> str:
        """Of the matrix products of the forward and backward pass."""
        return str(self.identity["distill"].get("precision", "fp32"))

    def _projectors(
        self, targets: Targets | None, pairs: Sequence[tuple[LayerRef, LayerRef]]
    ) -> list[nn.Module]:
        if not isinstance(self.method, ProjectorDistillation) or not uses_features(self.method):
            return []
        assert targets is not None, "a projector has a teacher to project to"
        generator = torch.Generator().manual_seed(self.identity["seed"])
        said = targets([0], self.data.batch([0]))
        own = width_of(self.model)
        return [Projector(own, said.features[t].shape[1], generator) for _, t in pairs]

    def run(self) -> Iterator[Progress]:
        """All steps, with the validation split's metrics at the end of each epoch."""
        settings = self.identity["distill"]
        recipe = Recipe(
            seed=self.identity["seed"],
            **{k: v for k, v in settings.items() if k in Recipe.__dataclass_fields__},
        )
        per_epoch = recipe.epoch_steps(len(self.data))
        for progress in train(
            self.module,
            self.data,
            self.objective,
            recipe,
            self.worker,
            draw=self.draw,
            before_step=self.before_step,
            micro_batch=self.resources.micro_batch,
            begin=self.resumption.begin,
        ):
            assert progress.metrics is not None
            entry, course = progress.metrics, self.course
            epoch_ends = progress.done % per_epoch == 0 or progress.done == progress.total
            if epoch_ends:
                task = self.identity["task"]
                found = measure(self.model, self.validation, task, "validation", self.worker.device)
                self.worker.settle(self.module)
                values = {f"validation/{name}": value for name, value in found.items()}
                entry = StepMetrics(entry.step, {**entry.values, **values})
                if settings["keep"] == "best" and better(task, found, course.best):
                    course.best, course.best_weights = found, copy_of_weights(self.module)
            course.log.append(entry)
            self.resumption.reached(progress.done, progress.total, epoch_ends)
            yield replace(progress, metrics=entry)
        if self.course.best_weights is not None:
            put_weights(self.module, self.course.best_weights)

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None) -> dict[str, Any]:
        """Write the student, its projectors and its log; returns what the manifest says of them.

        weights: of the module, where the worker has only its share of them.
        """
        self.module.close()
        own = None if weights is None else _below("model.", weights)
        save_model(self.model, self.tokenizer, folder / "model", own)
        if self.module.projectors:
            projectors = self.module.projectors.state_dict()
            kept = projectors if weights is None else _below("projectors.", weights)
            save_file(dict(kept), folder / "projector.safetensors")
        log, best = self.course.log, self.course.best
        write_log(log, folder / "log.parquet")
        last = log[-1].values
        validation = {k: v for k, v in last.items() if k.startswith("validation/")}
        if best is not None:
            validation = {f"validation/{name}": value for name, value in best.items()}
        return {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "steps": len(log),
            "metrics": {"train/loss": last["train/loss"]} | validation,
        }


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a submodule, by their names in it."""
    return {
        name.removeprefix(prefix): weight.contiguous()
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def _initial_student(step: Step, store: Store) -> tuple[Any, Any]:
    """The student before this training, and its tokenizer."""
    if "start" in step.needs:
        return load_saved(store.folder(step.needs["start"]) / "model")
    init: StudentInit = TypeAdapter(StudentInit).validate_python(
        json.loads(json.dumps(step.run["student"]["init"])), strict=False
    )
    if isinstance(init, PretrainedInit):
        source = tokenizer_source = locate(init.model, init.revision)
    else:
        # It has the teacher's vocabulary, and perhaps the fine-tuned teacher's weights.
        source = tokenizer_source = model_source(step, store)
        if "source" in step.needs:
            finetuned = store.folder(step.needs["source"]) / "model"
            source = finetuned if finetuned.is_dir() else source
    task = step.identity["task"]
    model = build_student(
        init,
        source,
        outputs=step.identity["outputs"],
        regression=task == "regression",
        seed=step.identity["seed"],
        dropout=step.identity["distill"]["dropout"],
        language_model=task in GENERATION,
        units=_aligned_units(step, store),
    )
    return model, load_tokenizer(tokenizer_source)


def _aligned_units(step: Step, store: Store) -> dict[str, list[int]] | None:
    """By stack, the teacher's units that an aligned student is cut at; None for another start."""
    found = {
        stack_of(needed.needs["score"].identity["layer"]): read_units(needed, store)
        for role, needed in step.needs.items()
        if role.startswith("aligned")
    }
    return found or None


def width_of(model: Any) -> int:
    """d_S or d_T, the hidden units of a model's layers."""
    return int(model.config.hidden_size)


def write_log(log: list[StepMetrics], path: Path) -> None:
    """Write step metrics as a long table: step, metric, value."""
    flat = [(entry.step, name, value) for entry in log for name, value in entry.values.items()]
    steps, names, values = zip(*flat, strict=True)
    table = pa.table({"step": steps, "metric": names, "value": values})
    pq.write_table(table, path)


def read_log(step: Step, store: Store) -> list[StepMetrics]:
    """The step metrics of a published student, in order."""
    return read_log_file(store.file(step, "log.parquet"))


def read_log_file(path: Path) -> list[StepMetrics]:
    """The inverse of `write_log`."""
    grouped: dict[int, dict[str, float]] = {}
    for row in pq.read_table(path).to_pylist():
        grouped.setdefault(row["step"], {})[row["metric"]] = row["value"]
    return [StepMetrics(number, values) for number, values in sorted(grouped.items())]
