"""Publishes a teacher: a pretrained model, fine-tuned on the task and evaluated on it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..artifacts import Artifacts, read_rows
from ..data import SPLITS
from ..models import label_unit, save_model
from ..plan import TeacherConfig, TrainingRecipe
from ..spec import FineTuning
from ..tasks import Examples, decoder_start
from ..tracking import Progress
from ..training.class_weights import class_weights, weighed
from ..training.encoding import encode
from ..training.hidden_states import HiddenStateModel
from ..training.lengths import lengths_json
from ..training.loop import train
from ..training.metrics import compute_metrics, multilabel_cut
from ..training.objective import DistillationObjective
from ..training.resume import Resumption, TrainingState
from ..training.worker import Worker, torch_threads
from .context import Output, RunContext
from .teacher_model import label_summary, language_head, load_pretrained


def run(
    config: TeacherConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Fine-tune the teacher, or use it as it is, and publish its folder and metrics.

    The folder `model/` is the output of `save_pretrained`; a teacher that is used as it is is not
    copied. For a language model, `nll` is computed here; a separate step evaluates its texts. The
    model is trained on one device; for the metrics it is spread if `spread_teacher` is set.
    """
    since, recipe = time.perf_counter(), config.finetune
    with torch_threads(context.threads):
        model, tokenizer = load_pretrained(config, inputs, recipe.seed if recipe else 0)
        teacher = _Teacher(model, tokenizer, config, inputs.folder(config.dataset))
        if recipe:
            resumption = Resumption(
                out.step,
                out.store,
                context.worker,
                TrainingState(),
                since=since,
                seed=recipe.seed,
                every=context.checkpoint_steps,
            )
            yield from _finetune(teacher, recipe, resumption, context.worker)
            since = resumption.since
        with out.publish(since) as draft:
            if recipe:
                save_model(model, tokenizer, draft.folder / "model")
            draft.summary |= label_summary(model)
            draft.summary["parameters"] = sum(p.numel() for p in model.parameters())
            metrics = teacher.metrics(context)
            draft.summary["lengths"] = teacher.lengths()
            draft.summary["metrics"] = metrics
            (draft.folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        out.drop_partial()  # its checkpoints


@dataclass(frozen=True, eq=False)
class _Teacher:
    """The model and its data.

    dataset: the folder of the splits.
    encoded: the splits that are encoded.
    """

    model: Any
    tokenizer: Any
    config: TeacherConfig
    dataset: Path
    encoded: dict[str, Examples] = field(default_factory=dict)

    def examples(self, split: str) -> Examples:
        """The encoded examples of a split."""
        if split not in self.encoded:
            self.encoded[split] = encode(
                read_rows(self.dataset, split),
                self.tokenizer,
                self.config.reading,
                decoder_start_id=decoder_start(self.model),
                training=split == "train",
                unit=label_unit(self.model),
            )
        return self.encoded[split]

    def lengths(self) -> dict[str, Any]:
        """How many texts of each split are truncated."""
        return {split: lengths_json(self.examples(split)) for split in SPLITS}

    def metrics(self, context: RunContext) -> dict[str, float]:
        """Every metric that needs no generation, on the validation and the test split."""
        model = context.worker.place(self.model, context.spread_teacher).eval()
        reading, device = self.config.reading, context.worker.device
        cut = multilabel_cut(reading, model, lambda: self.examples("validation"), device)
        return {
            f"{split}/{name}": value
            for split in ("validation", "test")
            for name, value in compute_metrics(
                model, self.examples(split), reading.task, split, device, cut
            ).items()
        }


def _finetune(
    teacher: _Teacher, recipe: TrainingRecipe, resumption: Resumption, worker: Worker
) -> Iterator[Progress]:
    """Supervised training with checkpoints."""
    reading = teacher.config.reading
    weights_C = class_weights(reading, teacher.examples("train"))
    data = weighed(teacher.examples("train"), weights_C)
    objective = DistillationObjective(
        FineTuning(kind="ft"),
        reading.task,
        head=language_head(teacher.model, reading),
        precision=recipe.precision,
        class_weights=weights_C,
    )
    # Dropout of the pretrained model is active and uses the global random generator.
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        module, begin = HiddenStateModel(teacher.model), resumption.begin
        for progress in train(module, data, objective, recipe, worker, begin=begin):
            ends = progress.done % recipe.epoch_steps(len(data)) == 0
            resumption.reached(progress.done, progress.total, ends)
            yield progress
