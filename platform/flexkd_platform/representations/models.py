"""Load a published student or teacher, and encode rows of the data set for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from flexkd_core import drawn_rows

from ..artifacts import SplitReader
from ..model_info import locate
from ..models import (
    label_unit,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    stack_shapes,
)
from ..plan import LabelReading, LayerRef, Reading, ResponseReading, Stacks
from ..results import JobFiles
from ..spec import Problem, SpecError
from ..store import StoreError
from ..tasks import Examples, decoder_start
from ..training.encoding import encode
from .records import ActivationsRequest, Subject

SPLIT = "validation"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in eval mode on the CPU, its tokenizer, and how it reads examples."""

    model: Any
    tokenizer: Any
    reading: Reading

    def layers(self) -> tuple[LayerRef, ...]:
        """The outputs of all blocks, and of the norm that ends a stack, by stack."""
        return layers_of(stack_shapes(self.model.config, self.model.base_model))

    def encoded(self, table: pa.Table) -> Examples:
        """Rows of a data set."""
        return encode(
            table,
            self.tokenizer,
            self.reading,
            decoder_start_id=decoder_start(self.model),
            unit=label_unit(self.model),
        )

    def example(self, job: JobFiles, request: ActivationsRequest) -> pa.Table:
        """The row of the validation split that a request names.

        Raises:
            SpecError: there is no such row.
        """
        with _reader(job, request.subject) as reader:
            if not 0 <= request.row < reader.total:
                message = f"the {SPLIT} split has no example {request.row}"
                raise SpecError([Problem("example", message, f"give 0 to {reader.total - 1}")])
            return reader.rows(request.row, request.row + 1)


def layers_of(stacks: Stacks) -> tuple[LayerRef, ...]:
    """The names of all layers of a model."""
    found: list[LayerRef] = []
    for stack in stacks:
        found += [stack.ref(place) for place in range(stack.layers)]
        if stack.final_norm:
            found.append(stack.last)
    return tuple(found)


def drawn_examples(job: JobFiles, subject: Subject, count: int) -> pa.Table:
    """`count` rows of the validation split, drawn with seed 0, in their order; all if fewer."""
    with _reader(job, subject) as reader:
        drawn = drawn_rows(reader.total, min(count, reader.total), 0)
        return reader.take(np.sort(np.asarray(drawn, dtype=np.int64)))


def same_rows(student: LoadedModel, teacher: LoadedModel, table: pa.Table) -> None:
    """Refuse two models whose rows are not of the same tokens.

    Raises:
        SpecError: a task of texts, and the tokenizers differ.
    """
    if isinstance(student.reading, LabelReading):
        return  # a row is an example
    ours, theirs = (side.encoded(table).batch(range(len(table))) for side in (student, teacher))
    if not _equal(ours.inputs, theirs.inputs):
        message = "the student and the teacher read different tokens, whose rows do not match"
        remedy = "look at each model's activations; compare models with one tokenizer"
        raise SpecError([Problem("", message, remedy)])


def _equal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    name = "input_ids"
    return ours[name].shape == theirs[name].shape and bool((ours[name] == theirs[name]).all())


def load_student(job: JobFiles, subject: Subject) -> LoadedModel:
    """A student as it was published.

    Raises:
        SpecError: the storage no longer holds it.
        ModelError: it cannot be loaded.
    """
    try:
        folder = job.store.folder_at("distill", subject.student) / "model"
        identity = job.store.manifest_at("distill", subject.student).identity
    except StoreError as error:
        raise _missing("student", error) from None
    return LoadedModel(*load_saved(folder), _reading(identity))


def load_teacher(job: JobFiles, subject: Subject) -> LoadedModel:
    """A teacher; one that is used as it is comes from where the job's spec names it.

    Raises:
        SpecError: the storage no longer holds it.
        ModelError: it cannot be loaded.
    """
    try:
        folder = job.store.folder_at("teacher", subject.teacher) / "model"
        manifest = job.store.manifest_at("teacher", subject.teacher)
        reading = _reading(manifest.identity)
        if folder.is_dir():
            return LoadedModel(*load_saved(folder), reading)
        if "base" in manifest.needs:
            source: Any = job.store.folder_at("base", manifest.needs["base"]) / "model"
        else:
            named = job.spec().teacher
            source = locate(str(named.model), named.revision)
    except StoreError as error:
        raise _missing("teacher", error) from None
    modules = job.spec().teacher.modules
    if isinstance(reading, ResponseReading):
        model = load_language_model(source, modules=modules)
    else:
        # Hidden states do not depend on the head, which may be drawn.
        model = load_with_head(
            source,
            outputs=reading.outputs,
            regression=reading.regresses,
            seed=0,
            modules=modules,
            multilabel=reading.multilabel,
        )
    return LoadedModel(model, load_tokenizer(source), reading)


def _reading(identity: Mapping[str, Any]) -> Reading:
    """How a model reads examples, from the identity of its step."""
    kind = LabelReading if "max_length" in identity else ResponseReading
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in identity.items() if name in names})


def _reader(job: JobFiles, subject: Subject) -> SplitReader:
    try:
        return SplitReader(job.store.folder_at("dataset", subject.dataset), SPLIT)
    except (StoreError, FileNotFoundError) as error:
        raise _missing("data set", error) from None


def _missing(what: str, error: Exception) -> SpecError:
    remedy = "run the job again with the same --storage: it makes what is missing"
    return SpecError([Problem("", f"the {what} is not there: {error}", remedy)])
