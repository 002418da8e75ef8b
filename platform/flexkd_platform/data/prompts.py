"""Prompts with correct responses, from instructions or from documents with summaries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from ..spec import (
    DocumentColumns,
    InstructionColumns,
    InstructionTask,
    Problem,
    SummarizationTask,
    Task,
)
from .columns import column_names
from .labels import Labels
from .prepared import KEY, PreparedData
from .reading import Examples
from .responses import Instance
from .roles import is_text
from .templates import TEMPLATES, prompt_of

SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("references", pa.list_(pa.string())),
        (KEY, pa.string()),
    ]
)

_CHUNK = 1 << 14
"""Rows that are held as Python objects at a time."""


@dataclass
class _Rows:
    """Collects examples in Arrow memory, and counts the skipped rows."""

    skipped: int = 0
    prompts: list[str] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, prompt: str, references: list[str], key: str) -> None:
        self.prompts.append(prompt)
        self.references.append(references)
        # The digest, since documents are long.
        self.keys.append(hashlib.blake2b(key.encode(), digest_size=16).hexdigest())
        if len(self.prompts) == _CHUNK:
            self.pack()

    def pack(self) -> None:
        first = [references[0] for references in self.references]
        columns = [self.prompts, first, self.references, self.keys]
        arrays = [
            pa.array(values, kind) for values, kind in zip(columns, SCHEMA.types, strict=True)
        ]
        self.batches.append(pa.record_batch(arrays, schema=SCHEMA))
        for values in (self.prompts, self.references, self.keys):
            values.clear()

    def table(self) -> pa.Table:
        self.pack()
        return pa.Table.from_batches(self.batches, SCHEMA)


def make_instructions(
    splits: Mapping[str, Examples], task: Task, path: str, known: Labels | None
) -> PreparedData:
    """Apply the template to instruction and input; one example for each instance of a row."""
    assert isinstance(task, InstructionTask), "the caller goes by the task"
    made = PreparedData(rules={"task": task.kind, "template": TEMPLATES[task.template]})
    if isinstance(task.data, InstructionColumns):
        made.rules["columns"] = column_names(task.data)[0]
    if _all_texts(splits, {"instruction": "instruction", "input": "input"}, path, made):
        for name, examples in splits.items():
            rows = _Rows()
            for instruction, given, instances in _parts(examples, "instruction", "input", "output"):
                if not instances:
                    rows.skipped += 1
                for instance in instances:
                    own = given if instance["input"] is None else instance["input"]
                    references = _given(instance["output"])
                    if _blank(instruction) or not references:
                        rows.skipped += 1
                        continue
                    # Independent of the template: another one must not move an example.
                    key = prompt_of(instruction, own, "none")
                    rows.add(prompt_of(instruction, own, task.template), references, key)
            _finish(rows, name, examples, "output", path, made)
    return made


def make_summaries(
    splits: Mapping[str, Examples], task: Task, path: str, known: Labels | None
) -> PreparedData:
    """Prompts of prefix and document, with the summary as response."""
    assert isinstance(task, SummarizationTask), "the caller goes by the task"
    made = PreparedData(rules={"task": task.kind, "prefix": task.prefix})
    if isinstance(task.data, DocumentColumns):
        made.rules["columns"] = column_names(task.data)[0]
    if _all_texts(splits, {"document": "document"}, path, made):
        for name, examples in splits.items():
            rows = _Rows()
            for document, _, instances in _parts(examples, "document", "", "summary"):
                references = _given([text for one in instances for text in one["output"]])
                if _blank(document) or not references:
                    rows.skipped += 1
                    continue
                rows.add(task.prefix + document, references, document)
            _finish(rows, name, examples, "summary", path, made)
    return made


def _all_texts(
    splits: Mapping[str, Examples], nouns: Mapping[str, str], path: str, made: PreparedData
) -> bool:
    for examples in splits.values():
        for role, what in nouns.items():
            if role not in examples.table.column_names:
                continue
            kind = examples.table[role].type
            if not is_text(kind):
                message = f"the {what}s of {examples.origin} are of type {kind}"
                remedy = f"name the column of the {what}"
                made.problems.append(Problem(f"{path}.{role}", message, remedy))
    return not made.problems


def _parts(
    examples: Examples, text: str, given: str, responses: str
) -> Iterator[tuple[str, str | None, list[Instance]]]:
    """Text, input and instances of every row, with few rows as Python objects at a time."""
    wanted = [name for name in (text, given, responses) if name in examples.table.column_names]
    for batch in examples.table.select(wanted).to_batches(max_chunksize=_CHUNK):
        columns = batch.to_pydict()
        inputs = columns.get(given, [None] * len(batch))
        yield from zip(
            columns[text], inputs, (row or [] for row in columns[responses]), strict=True
        )


def _finish(
    rows: _Rows, name: str, examples: Examples, responses: str, path: str, made: PreparedData
) -> None:
    table = made.tables[name] = rows.table()
    made.skipped[name] = rows.skipped
    if rows.skipped and not len(table):
        message = f"no row of {examples.origin} has both an input and a response"
        remedy = "name the columns that hold them"
        made.problems.append(Problem(f"{path}.{responses}", message, remedy))


def _given(texts: list[str]) -> list[str]:
    return [text for text in texts if not _blank(text)]


def _blank(text: str | None) -> bool:
    return text is None or not text.strip()
