"""The model of a teacher step, and the pretrained one that it starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artifacts import Artifacts
from ..model_info import locate
from ..models import (
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


def load_pretrained(config: TeacherConfig, artifacts: Artifacts, seed: int) -> tuple[Any, Any]:
    """Load the teacher before its fine-tuning, with a head for the task, and its tokenizer."""
    pretrained, reading = config.pretrained, config.reading
    source = pretrained_source(pretrained, artifacts)
    modules = None if isinstance(pretrained, Step) else pretrained.modules
    if isinstance(reading, ResponseReading):
        return load_language_model(source, modules=modules), load_tokenizer(source)
    model = load_with_head(
        source,
        outputs=reading.outputs,
        regression=reading.regresses,
        seed=seed,
        modules=modules,
    )
    return model, load_tokenizer(source)


def pretrained_source(pretrained: Pretrained, artifacts: Artifacts) -> Path | str:
    """The source that a pretrained model is loaded from: a folder, or a name on the hub."""
    if isinstance(pretrained, Step):
        return artifacts.folder(pretrained) / "model"
    return locate(pretrained.model, pretrained.revision)


def language_head(model: Any, reading: Reading) -> Any:
    """The output head of a language model; None for a classifier or regressor."""
    return output_head(model) if isinstance(reading, ResponseReading) else None
