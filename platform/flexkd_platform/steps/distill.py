"""The distillation step: one student, trained by one method with one seed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import nn

from flexkd_core import Projector

from ..models import build_student, hidden_layers, load_tokenizer, locate, save_model
from ..plan import Step
from ..spec import FlexKd, Method, PretrainedInit, ProjectorDistillation, StudentInit
from ..store import Store
from ..tasks import TASKS, encode_texts
from ..tracking import StepMetrics
from .dataset import read_rows
from .objective import DistillationObjective, loss_weights, paired_units, parse_method
from .select import read_units
from .targets import CachedTargets, LiveTargets, TappedModel, Targets
from .teacher import PREDICT_BATCH, load_teacher
from .training import Progress, Recipe, check_outputs, predict, train
from .worker import Worker, torch_threads


def make_student(step: Step, store: Store, worker: Worker, threads: int) -> Iterator[Progress]:
    """Train one student and publish its folder, its log and its last loss.

    `model/` is what `save_pretrained` writes; `log.parquet` holds one row a metric and step. Every
    worker runs this; the first one publishes.
    """
    started = time.perf_counter()
    identity = step.identity
    method, head = parse_method(identity["method"]), TASKS[identity["task"]]
    dataset = store.folder(step.needs["dataset"])
    with torch_threads(threads), torch.random.fork_rng():
        torch.manual_seed(identity["seed"])
        model, tokenizer = _initial_student(step, head.regression)
        rows = {name: read_rows(dataset, name) for name in ("train", "validation")}
        data = {
            name: encode_texts(tokenizer, split.texts, identity["max_length"])
            for name, split in rows.items()
        }
        targets = _targets(step, store, rows["train"].texts, worker)
        module = TappedModel(model, hidden_layers(model)[-1])
        module.projector = _projector(method, model, targets, identity["seed"])
        units = _units(method, step, store)
        objective = DistillationObjective(method, head, rows["train"].labels, targets, units)
        settings = identity["distill"]
        recipe = Recipe(
            seed=identity["seed"],
            **{k: v for k, v in settings.items() if k in Recipe.__dataclass_fields__},
        )
        log: list[StepMetrics] = []
        per_epoch = -(-len(data["train"]) // recipe.batch_size)
        labels = rows["validation"].labels.double().numpy()
        for progress in train(module, data["train"], objective, recipe, worker):
            assert progress.metrics is not None
            entry = progress.metrics
            if progress.done % per_epoch == 0 or progress.done == progress.total:
                logits_NC = predict(module, data["validation"], PREDICT_BATCH, worker.device)
                check_outputs(logits_NC, "validation")
                found = head.metrics(logits_NC.double().numpy(), labels)
                values = {f"validation/{name}": value for name, value in found.items()}
                entry = StepMetrics(entry.step, {**entry.values, **values})
            log.append(entry)
            yield replace(progress, metrics=entry)
        if worker.rank == 0:
            with store.publish(step, started) as draft:
                save_model(model, tokenizer, draft.folder / "model")
                if module.projector is not None:
                    state = module.projector.state_dict()
                    save_file(state, draft.folder / "projector.safetensors")
                write_log(log, draft.folder / "log.parquet")
                draft.summary |= {
                    "parameters": sum(p.numel() for p in model.parameters()),
                    "steps": len(log),
                    "metrics": {"train/loss": log[-1].values["train/loss"]}
                    | {k: v for k, v in log[-1].values.items() if k.startswith("validation/")},
                }
        worker.barrier()


def _initial_student(step: Step, regression: bool) -> tuple[nn.Module, Any]:
    init: StudentInit = TypeAdapter(StudentInit).validate_python(
        json.loads(json.dumps(step.run["student"]["init"])), strict=False
    )
    source = locate(step.run["model"], step.run["revision"])
    model = build_student(
        init,
        source,
        outputs=step.identity["outputs"],
        regression=regression,
        seed=step.identity["seed"],
        dropout=step.identity["distill"]["dropout"],
    )
    # A sliced or random student has the teacher's vocabulary, a pretrained one its own.
    if isinstance(init, PretrainedInit):
        source = locate(init.model, init.revision)
    return model, load_tokenizer(source)


def _targets(step: Step, store: Store, texts: list[str], worker: Worker) -> Targets | None:
    if "cache" in step.needs:
        return CachedTargets(store.folder(step.needs["cache"]), worker.device)
    if "teacher" in step.needs:
        teacher, tokenizer = load_teacher(step.needs["teacher"], store)
        data = encode_texts(tokenizer, texts, step.identity["max_length"])
        return LiveTargets(teacher, step.identity["distill"]["teacher_layer"], data, worker)
    return None


def _projector(
    method: Method, model: nn.Module, targets: Targets | None, seed: int
) -> Projector | None:
    if not isinstance(method, ProjectorDistillation) or not loss_weights(method)["feature"]:
        return None
    assert targets is not None, "a projector has a teacher to project to"
    width = targets([0])[0].shape[1]
    return Projector(student_width(model), width, torch.Generator().manual_seed(seed))


def student_width(model: nn.Module) -> int:
    """d_S, the hidden units of the student's layers."""
    config: Any = model.config
    return int(config.hidden_size)


def _units(method: Method, step: Step, store: Store) -> torch.Tensor | None:
    if not isinstance(method, FlexKd) or "select" not in step.needs:
        return None
    return paired_units(method, read_units(step.needs["select"], store))


def write_log(log: list[StepMetrics], path: Path) -> None:
    """Write step metrics as a long table: step, metric, value."""
    flat = [(entry.step, name, value) for entry in log for name, value in entry.values.items()]
    steps, names, values = zip(*flat, strict=True)
    table = pa.table({"step": steps, "metric": names, "value": values})
    pq.write_table(table, path)


def read_log(step: Step, store: Store) -> list[StepMetrics]:
    """The step metrics of a published student, in order."""
    return read_log_file(store.folder(step) / "log.parquet")


def read_log_file(path: Path) -> list[StepMetrics]:
    """The inverse of `write_log`."""
    grouped: dict[int, dict[str, float]] = {}
    for row in pq.read_table(path).to_pylist():
        grouped.setdefault(row["step"], {})[row["metric"]] = row["value"]
    return [StepMetrics(number, values) for number, values in sorted(grouped.items())]
