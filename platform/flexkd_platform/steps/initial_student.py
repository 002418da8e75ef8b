"""The student before its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artifacts import Artifacts, LabelUnit, read_units
from ..model_info import locate
from ..models import base_source, build_student, load_saved, load_tokenizer
from ..plan import (
    DistillConfig,
    LabelReading,
    ResponseReading,
    StudentConfig,
    TrainingConfig,
    stack_of,
)
from ..spec import PretrainedInit, SlicedInit
from .teacher_model import pretrained_source


def initial_student(
    config: TrainingConfig, inputs: Artifacts, unit: LabelUnit | None = None
) -> tuple[Any, Any]:
    """The student and its tokenizer: warmed up, pretrained, or created from its teacher.

    unit: of the labels that it is trained on, for regression; None for other tasks.
    """
    if isinstance(config, DistillConfig) and config.start is not None:
        return load_saved(inputs.folder(config.start) / "model")
    student, reading = config.student, config.reading
    source, tokenizer_source = _sources(student, inputs)
    model = build_student(
        student.init,
        source,
        outputs=reading.outputs,
        regression=reading.regresses,
        seed=config.seed,
        dropout=config.dropout,
        language_model=isinstance(reading, ResponseReading),
        units=_aligned_units(student, inputs),
        head=student.head,
        names=reading.names if isinstance(reading, LabelReading) else (),
        unit=unit,
        multilabel=reading.multilabel,
    )
    return model, load_tokenizer(tokenizer_source)


def _sources(student: StudentConfig, inputs: Artifacts) -> tuple[Path | str, Path | str]:
    """The sources of the weights and of the tokenizer."""
    if isinstance(student.init, PretrainedInit):
        source = locate(student.init.model, student.init.revision)
        return source, source
    assert student.pretrained is not None, "a student that is not pretrained is made from a teacher"
    source = pretrained_source(student.pretrained, inputs)
    if student.finetuned is not None:
        finetuned = inputs.folder(student.finetuned) / "model"
        if finetuned.is_dir():
            return finetuned, source
    return source, source


def saved_base(student: StudentConfig) -> Path | str | None:
    """Where the model that an adapter is trained on is saved; None to save it with the adapter.

    That is one made for this job, or one whose modules the spec names: the saved config holds them.
    """
    if not isinstance(student.init, PretrainedInit) or student.init.modules is not None:
        return None
    return base_source(locate(student.init.model, student.init.revision))


def _aligned_units(student: StudentConfig, inputs: Artifacts) -> dict[str, list[int]] | None:
    """The teacher's units that an aligned student keeps, by stack; None for other students."""
    if student.aligned is None:
        return None
    return {stack_of(student.aligned.config.layer): read_units(student.aligned, inputs)}


def origin_of(student: StudentConfig, inputs: Artifacts) -> list[int]:
    """The teacher unit that each unit of a student cut from it was copied from.

    The stacks of an encoder–decoder share their units.
    """
    if student.aligned is not None:
        return read_units(student.aligned, inputs)
    assert isinstance(student.init, SlicedInit), "the preflight checks refuse other students"
    return student.init.kept_units(student.teacher_hidden)
