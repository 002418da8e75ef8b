"""The teacher step: a pretrained model, fitted to the task and measured on it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from ..models import (
    hidden_layers,
    load_saved,
    load_tokenizer,
    load_with_head,
    locate,
    save_model,
)
from ..plan import Step
from ..store import Store
from ..tasks import TASKS, Encoded, encode_texts
from .dataset import read_rows
from .objective import DistillationObjective, parse_method
from .targets import TappedModel
from .training import Progress, Recipe, check_outputs, predict, train
from .worker import SoloWorker, torch_threads

PREDICT_BATCH = 64
"""Examples of a forward without gradients."""


def make_teacher(step: Step, store: Store, threads: int) -> Iterator[Progress]:
    """Fine-tune the teacher, or take it as it is, and publish its folder and metrics.

    The folder `model/` is what `save_pretrained` writes; a teacher used as it is stays where it
    lies and is not copied.
    """
    started = time.perf_counter()
    head = TASKS[step.identity["task"]]
    dataset = store.folder(step.needs["dataset"])
    finetune = step.identity["finetune"]
    source = locate(step.run["model"], step.run["revision"])
    worker = SoloWorker(_device())
    with torch_threads(threads):
        seed = finetune["seed"] if finetune else 0
        model = load_with_head(
            source, outputs=step.identity["outputs"], regression=head.regression, seed=seed
        )
        tokenizer = load_tokenizer(source)
        length = step.identity["max_length"]
        module = TappedModel(model, hidden_layers(model)[-1])
        if finetune:
            rows = read_rows(dataset, "train")
            data = encode_texts(tokenizer, rows.texts, length)
            method = parse_method({"kind": "ft"})
            objective = DistillationObjective(method, head, rows.labels, None, None)
            recipe = Recipe(**finetune)
            # Dropout of the pretrained model is on: it draws from the global generator.
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                yield from train(module, data, objective, recipe, worker)
        module.to(worker.device).eval()
        with store.publish(step, started) as draft:
            if finetune:
                save_model(model, tokenizer, draft.folder / "model")
            draft.summary["parameters"] = sum(p.numel() for p in model.parameters())
            metrics: dict[str, float] = {}
            for split in ("validation", "test"):
                rows = read_rows(dataset, split)
                data = encode_texts(tokenizer, rows.texts, length)
                logits_NC = predict(module, data, PREDICT_BATCH, worker.device)
                check_outputs(logits_NC, split)
                found = head.metrics(logits_NC.double().numpy(), rows.labels.double().numpy())
                metrics |= {f"{split}/{name}": value for name, value in found.items()}
            draft.summary["metrics"] = metrics
            (draft.folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")


def load_teacher(step: Step, store: Store) -> tuple[nn.Module, object]:
    """The teacher and its tokenizer, in eval mode, of a published step."""
    folder = store.folder(step)
    if (folder / "model").is_dir():
        model, tokenizer = load_saved(folder / "model")
        return model, tokenizer
    source = locate(step.run["model"], step.run["revision"])
    head = TASKS[step.identity["task"]]
    model = load_with_head(
        source, outputs=step.identity["outputs"], regression=head.regression, seed=0
    )
    return model, load_tokenizer(source)


def encode_split(
    tokenizer: object, folder: Path, split: str, max_length: int, stop: int | None = None
) -> Encoded:
    """A split of a data set as token ids."""
    rows = read_rows(folder, split, 0, stop)
    return encode_texts(tokenizer, rows.texts, max_length)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
