"""Write a student as a folder that `from_pretrained` and `pipeline` of transformers load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..model_info import ModelError
from ..models import (
    export_onnx,
    load_saved,
    missing_packages,
    output_labels,
    save_model,
    set_decoding,
    set_tokenizer,
)
from ..spec import InstructionTask, Problem, ResponseTask, SpecError, TextTask
from ..tasks import Chat
from .card import CardFacts, model_card
from .choosing import Student

CARD = "README.md"
FORMATS = ("safetensors", "onnx")
FORMAT_OPTION = "--format"


@dataclass(frozen=True)
class Exported:
    """An exported student.

    files: names in the folder, sorted.
    parameters: of the whole model.
    notes: what a user of the model has to know.
    """

    folder: Path
    files: tuple[str, ...]
    parameters: int
    notes: tuple[str, ...] = ()


def folder_problems(folder: Path) -> list[Problem]:
    """The problem of a folder that cannot be written, or that holds something."""
    if folder.is_dir() and not any(folder.iterdir()):
        return []
    if folder.exists():
        what = "is not empty" if folder.is_dir() else "is a file"
        return [Problem("DIR", f"{folder} {what}", "name a new folder; nothing is overwritten")]
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        message = f"{folder} cannot be created: {place} is not a writable folder"
        return [Problem("DIR", message, "name a folder that you may write to")]
    return []


def format_problems(student: Student, formats: Sequence[str]) -> list[Problem]:
    """Formats of the weights that there are not, or that the student cannot have."""
    task = student.spec.task
    problems = [
        Problem(FORMAT_OPTION, f"unknown format {name!r}", f"allowed are {', '.join(FORMATS)}")
        for name in formats
        if name not in FORMATS
    ]
    if "onnx" not in formats:
        return problems
    if isinstance(task, ResponseTask) and task.language_model == "seq2seq":
        message = "an encoder–decoder in ONNX is several graphs, which flexkd does not make"
        problems.append(Problem(FORMAT_OPTION, message, "leave --format onnx out"))
    if missing := missing_packages():
        message = f"ONNX needs {', '.join(missing)}, not installed here"
        problems.append(Problem(FORMAT_OPTION, message, "pip install 'flexkd[onnx]'"))
    return problems


def write_student(
    student: Student, folder: Path, formats: Sequence[str] = ("safetensors",)
) -> Exported:
    """Write a student's model, tokenizer and model card to a folder, whole or not at all.

    formats: of the weights: `safetensors`, `onnx` or both.

    Adapters are merged. A regressor outputs labels in their own unit, and a language model decodes
    as in the evaluation.

    Raises:
        SpecError: the folder holds something, the storage has no readable student, or the
            architecture cannot be exported to ONNX.
    """
    if problems := [*folder_problems(folder), *format_problems(student, formats)]:
        raise SpecError(problems)
    model, tokenizer, notes = load_student(student)
    facts = card_facts(model, notes)
    with _whole(folder) as draft:
        save_model(model, tokenizer, draft)
        if "onnx" in formats:
            _write_onnx(model, tokenizer, draft)
        if "safetensors" not in formats:
            for weights in draft.glob("model*.safetensors*"):
                weights.unlink()
        (draft / CARD).write_text(model_card(student, facts), encoding="utf-8")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return Exported(folder, tuple(files), facts.parameters, notes)


def _write_onnx(model: Any, tokenizer: Any, folder: Path) -> None:
    try:
        export_onnx(model, tokenizer, folder / "model.onnx")
    except ModelError as error:
        raise SpecError([Problem(FORMAT_OPTION, error.message, error.remedy)]) from None


def load_student(student: Student) -> tuple[Any, Any, tuple[str, ...]]:
    """The model as it is exported, in eval mode, its tokenizer, and notes for its users.

    Raises:
        SpecError: the storage has no readable student.
    """
    try:
        model, tokenizer = load_saved(student.folder())
    except ModelError as error:
        raise SpecError([Problem("JOB", error.message, error.remedy)]) from None
    return model, tokenizer, _prepare(model, tokenizer, student)


def _prepare(model: Any, tokenizer: Any, student: Student) -> tuple[str, ...]:
    """Adapt a model and its tokenizer to other programs; returns what their users must know."""
    task, settings = student.spec.task, student.spec.evaluate
    if isinstance(task, TextTask):
        set_tokenizer(tokenizer, padding=task.padding, max_length=task.max_length)
        unit = output_labels(model)
        if unit is not None:
            return (
                f"The output z is in standard deviations from the mean of the labels, because the "
                f"head has no bias: label = {unit.std:.6g} · z + {unit.mean:.6g}.",
            )
        return ()
    assert isinstance(task, ResponseTask), "a task has labels or responses"
    set_tokenizer(tokenizer, padding="left" if task.language_model == "causal" else "right")
    chat = isinstance(task, InstructionTask) and task.template == "chat"
    set_decoding(
        model,
        tokenizer,
        settings.decoding or task.decoding,
        max_new_tokens=settings.max_new_tokens or task.max_new_tokens,
        eos_id=Chat(tokenizer).end_id if chat else tokenizer.eos_token_id,
    )
    return ()


def card_facts(model: Any, notes: Sequence[str]) -> CardFacts:
    """What the card says of the model itself."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return CardFacts(parameters, type(model).__name__, _label_names(model), notes)


def _label_names(model: Any) -> tuple[str, ...]:
    """The names of a classifier's outputs, in their order."""
    names: dict[int, str] = getattr(model.config, "id2label", None) or {}
    return tuple(names[index] for index in sorted(names))


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A draft next to a folder, which replaces it at the end; it is deleted after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
    draft.mkdir()
    try:
        yield draft
        draft.rename(folder)  # an empty folder is replaced
    finally:
        shutil.rmtree(draft, ignore_errors=True)
