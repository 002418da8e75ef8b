"""Prompts with correct responses, from instructions or from documents with summaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..spec import (
    DocumentColumns,
    InstructionColumns,
    InstructionTask,
    Problem,
    SpecError,
    SummarizationTask,
    Task,
)
from .columns import column_names
from .conversation_rows import as_instructions, has_conversations, make_conversations
from .labels import Labels
from .prepared import Conversations, PreparedData
from .prompt_rows import CHUNK, Rows, finish
from .reading import Examples
from .responses import Instance
from .roles import is_text
from .templates import TEMPLATES, prompt_of


def make_instructions(
    splits: Mapping[str, Examples], task: Task, path: str, known: Labels | None
) -> PreparedData:
    """Apply the template to instruction and input; one example for each instance of a row. Rows of
    messages are one example each, see `make_conversations`.
    """
    assert isinstance(task, InstructionTask), "the caller goes by the task"
    talks = {has_conversations(e.table): e.origin for e in splits.values() if len(e.table)}
    if len(talks) > 1:
        message = f"{talks[True]} holds conversations, {talks[False]} does not"
        problem = Problem(path, message, "write all splits in one form")
        return PreparedData(problems=[problem])
    if True in talks:
        return make_conversations(splits, task, path)
    template: Any = TEMPLATES.get(task.template, task.template)
    made = PreparedData(rules={"task": task.kind, "template": template})
    if task.template == "chat":
        made.conversations = Conversations(given=False)
    if isinstance(task.data, InstructionColumns):
        made.rules["columns"] = column_names(task.data)[0]
    if any("completion" in examples.table.column_names for examples in splits.values()):
        made.rules["columns"] = {"instruction": "prompt", "output": "completion"}
        try:
            splits = {name: as_instructions(examples, path) for name, examples in splits.items()}
        except SpecError as error:
            made.problems += error.problems
            return made
    if _all_texts(splits, {"instruction": "instruction", "input": "input"}, path, made):
        for name, examples in splits.items():
            rows = Rows()
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
            finish(rows, name, examples, "output", path, made)
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
            rows = Rows()
            for document, _, instances in _parts(examples, "document", "", "summary"):
                references = _given([text for one in instances for text in one["output"]])
                if _blank(document) or not references:
                    rows.skipped += 1
                    continue
                rows.add(task.prefix + document, references, document)
            finish(rows, name, examples, "summary", path, made)
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
    for batch in examples.table.select(wanted).to_batches(max_chunksize=CHUNK):
        columns = batch.to_pydict()
        inputs = columns.get(given, [None] * len(batch))
        yield from zip(
            columns[text], inputs, (row or [] for row in columns[responses]), strict=True
        )


def _given(texts: list[str]) -> list[str]:
    return [text for text in texts if not _blank(text)]


def _blank(text: str | None) -> bool:
    return text is None or not text.strip()
