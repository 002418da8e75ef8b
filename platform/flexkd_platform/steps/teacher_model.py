"""The model of a teacher step, and the pretrained one that it starts from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..artifacts import Artifacts, LabelUnit, read_rows
from ..model_info import locate
from ..models import (
    label_unit,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    output_head,
)
from ..plan import Pretrained, Reading, ResponseReading, Step, TeacherConfig


def load_teacher(step: Step[TeacherConfig], artifacts: Artifacts) -> tuple[Any, Any]:
    """Load the teacher of a published step, in eval mode, and its tokenizer."""
    folder = artifacts.folder(step)
    if (folder / "model").is_dir():
        return load_saved(folder / "model")
    return load_pretrained(step.config, artifacts, seed=0)


def load_teacher_tokenizer(step: Step[TeacherConfig], artifacts: Artifacts) -> Any:
    """The tokenizer of a published teacher, without its weights."""
    folder = artifacts.folder(step) / "model"
    return load_tokenizer(
        folder if folder.is_dir() else pretrained_source(step.config.pretrained, artifacts)
    )


def load_pretrained(config: TeacherConfig, artifacts: Artifacts, seed: int) -> tuple[Any, Any]:
    """Load the teacher before its fine-tuning, with a head for the task, and its tokenizer."""
    pretrained, reading = config.pretrained, config.reading
    source = pretrained_source(pretrained, artifacts)
    modules = None if isinstance(pretrained, Step) else pretrained.modules
    if isinstance(reading, ResponseReading):
        return load_language_model(source, modules=modules), load_tokenizer(source)
    regression = reading.regresses
    model = load_with_head(
        source,
        outputs=reading.outputs,
        regression=regression,
        seed=seed,
        head=config.head,
        names=reading.names,
        unit=teacher_unit(config, artifacts),
        exact=config.finetune is None,
        modules=modules,
        multilabel=reading.multilabel,
    )
    return model, load_tokenizer(source)


def teacher_unit(config: TeacherConfig, artifacts: Artifacts) -> LabelUnit | None:
    """The unit of a regression teacher's output: that of the training rows, fine-tuned or not."""
    if not config.reading.regresses:
        return None
    return LabelUnit.of_table(read_rows(artifacts.folder(config.dataset), "train"))


def pretrained_source(pretrained: Pretrained, artifacts: Artifacts) -> Path | str:
    """The source that a pretrained model is loaded from: a folder, or a name on the hub."""
    if isinstance(pretrained, Step):
        return artifacts.folder(pretrained) / "model"
    return locate(pretrained.model, pretrained.revision)


def label_summary(model: Any) -> dict[str, Any]:
    """The unit of a regressor's output, for the manifest; {} for other models."""
    unit = label_unit(model)
    return {} if unit is None else {"label_unit": asdict(unit)}


def language_head(model: Any, reading: Reading) -> Any:
    """The output head of a language model; None for a classifier or regressor."""
    return output_head(model) if isinstance(reading, ResponseReading) else None
