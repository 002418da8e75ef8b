"""The teacher step: a pretrained model, fitted to the task and measured on it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import torch

from ..models import (
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    locate,
    output_head,
    save_model,
)
from ..plan import Step
from ..store import Store
from ..tasks import decoder_start
from ..training.encoding import GENERATION, encode
from ..training.hidden_states import TappedModel
from ..training.loop import Progress, Recipe, train
from ..training.metrics import measure
from ..training.objective import DistillationObjective, parse_method
from ..training.resume import Course, Resumption
from ..training.worker import SoloWorker, local_device, torch_threads
from .dataset import read_rows


def make_teacher(
    step: Step,
    store: Store,
    threads: int,
    checkpoint_steps: int | None = None,
    *,
    spread_out: bool = False,
) -> Iterator[Progress]:
    """Fine-tune the teacher, or take it as it is, and publish its folder and metrics.

    The folder `model/` is what `save_pretrained` writes; a teacher used as it is stays where it
    lies and is not copied. Of a teacher that writes text `nll` is measured here, and its texts in
    an evaluation of their own.

    checkpoint_steps: optimiser steps between checkpoints of the training; epochs when None.
    spread_out: whether it is measured on all devices; it is trained on one.
    """
    since = time.perf_counter()
    identity = step.identity
    dataset = store.folder(step.needs["dataset"])
    finetune = identity["finetune"]
    worker = SoloWorker(local_device())
    with torch_threads(threads):
        seed = finetune["seed"] if finetune else 0
        model, tokenizer = _pretrained(step, store, seed)
        start_id = decoder_start(model)
        if finetune:
            rows = read_rows(dataset, "train")
            data = encode(rows, tokenizer, identity, decoder_start_id=start_id)
            objective = DistillationObjective(
                parse_method({"kind": "ft"}),
                identity["task"],
                head=language_head(model, identity),
                precision=finetune.get("precision", "fp32"),
            )
            # Dropout of the pretrained model is on: it draws from the global generator.
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                recipe = Recipe(**finetune)
                resumption = Resumption(
                    step,
                    store,
                    worker,
                    Course(),
                    since=since,
                    seed=seed,
                    every=checkpoint_steps,
                )
                module, begin = TappedModel(model), resumption.begin
                for progress in train(module, data, objective, recipe, worker, begin=begin):
                    ends = progress.done % recipe.epoch_steps(len(data)) == 0
                    resumption.reached(progress.done, progress.total, ends)
                    yield progress
                since = resumption.since
        model = worker.place(model, spread_out).eval()
        with store.publish(step, since) as draft:
            if finetune:
                save_model(model, tokenizer, draft.folder / "model")
            draft.summary["parameters"] = sum(p.numel() for p in model.parameters())
            metrics: dict[str, float] = {}
            for split in ("validation", "test"):
                rows = read_rows(dataset, split)
                data = encode(rows, tokenizer, identity, decoder_start_id=start_id)
                found = measure(model, data, identity["task"], split, worker.device)
                metrics |= {f"{split}/{name}": value for name, value in found.items()}
            draft.summary["metrics"] = metrics
            (draft.folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        store.drop_parts(step)  # its checkpoints


def load_teacher(step: Step, store: Store) -> tuple[Any, Any]:
    """The teacher and its tokenizer, in eval mode, of a published step."""
    folder = store.folder(step)
    if (folder / "model").is_dir():
        return load_saved(folder / "model")
    return _pretrained(step, store, seed=0)


def _pretrained(step: Step, store: Store, seed: int) -> tuple[Any, Any]:
    """The model before its fine-tuning, with a head for the task."""
    source = model_source(step, store)
    if step.identity["task"] in GENERATION:
        return load_language_model(source), load_tokenizer(source)
    regression = step.identity["task"] == "regression"
    model = load_with_head(
        source, outputs=step.identity["outputs"], regression=regression, seed=seed
    )
    return model, load_tokenizer(source)


def model_source(step: Step, store: Store) -> Any:
    """Where the model lies that a teacher, or a student cut from it, begins with."""
    if "base" in step.needs:
        return store.folder(step.needs["base"]) / "model"
    return locate(step.run["model"], step.run["revision"])


def language_head(model: Any, reading: Any) -> Any:
    """The output head of a language model; None for a classifier or regressor."""
    return output_head(model) if reading["task"] in GENERATION else None
