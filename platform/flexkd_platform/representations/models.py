"""Load a published student or teacher, and encode rows of the data set for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
from ..plan import LabelReading, LayerRef, Reading, Stacks, reading_with
from ..results import JobFiles
from ..spec import Problem, SpecError, TextTask, parse_spec
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
        """Rows of a data set. Hidden states do not depend on labels, which are not read."""
        if "label" in table.column_names:
            place = table.column_names.index("label")
            table = table.set_column(place, "label", pa.array(np.zeros(len(table), np.int64)))
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
    except StoreError as error:
        raise _missing("student", error) from None
    return _loaded(job, subject, *load_saved(folder))


def load_teacher(job: JobFiles, subject: Subject) -> LoadedModel:
    """A teacher; one that is used as it is comes from where the job's spec names it.

    Raises:
        SpecError: the storage no longer holds it.
        ModelError: it cannot be loaded.
    """
    try:
        folder = job.store.folder_at("teacher", subject.teacher) / "model"
        if folder.is_dir():
            return _loaded(job, subject, *load_saved(folder))
        needs = job.store.manifest_at("teacher", subject.teacher).needs
        source: Any = None
        if "base" in needs:
            source = job.store.folder_at("base", needs["base"]) / "model"
    except StoreError as error:
        raise _missing("teacher", error) from None
    task, teacher = job.spec().task, job.spec().teacher
    if source is None:
        source = locate(str(teacher.model), teacher.revision)
    if isinstance(task, TextTask):
        # Hidden states do not depend on the head, whose outputs may be drawn.
        model = load_with_head(source, outputs=1, regression=True, seed=0, modules=teacher.modules)
    else:
        model = load_language_model(source, modules=teacher.modules)
    return _loaded(job, subject, model, load_tokenizer(source))


def _loaded(job: JobFiles, subject: Subject, model: Any, tokenizer: Any) -> LoadedModel:
    """How a model reads the examples of its trial: by the job's spec, with the trial's axes."""
    (trial,) = (each for each in job.results["trials"] if each["hash"] == subject.student)
    changes = [
        f"{path}={json.dumps(value)}"
        for path, value in trial["params"].items()
        if path.startswith("task.")
    ]
    spec = parse_spec(job.spec_yaml, changes, source=job.folder.place("spec.yaml"))
    with _reader(job, subject) as reader:
        table = reader.rows(0, 1)
    outputs = int(getattr(model.config, "num_labels", 1))
    reading = reading_with(spec, outputs, conversations=_holds_messages(table))
    return LoadedModel(model, tokenizer, reading)


def _holds_messages(table: pa.Table) -> bool:
    """Whether the prompts of a data set are conversations, which a chat template writes."""
    if "prompt" not in table.column_names:
        return False
    try:
        messages = json.loads(table["prompt"][0].as_py())
    except ValueError:
        return False
    return isinstance(messages, list) and all(
        isinstance(one, dict) and {"role", "content"} <= set(one) for one in messages
    )


def _reader(job: JobFiles, subject: Subject) -> SplitReader:
    try:
        return SplitReader(job.store.folder_at("dataset", subject.dataset), SPLIT)
    except (StoreError, FileNotFoundError) as error:
        raise _missing("data set", error) from None


def _missing(what: str, error: Exception) -> SpecError:
    remedy = "run the job again with the same --storage: it makes what is missing"
    return SpecError([Problem("", f"the {what} is not there: {error}", remedy)])
