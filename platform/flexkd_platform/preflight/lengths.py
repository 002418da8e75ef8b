"""Checks of how the models of a job read its texts: templates, and what is truncated.

The result is remembered like that of a model check, so that a spec is validated without torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data import DataFacts, load_evaluation, load_splits, training_texts
from ..model_info import ModelFacts, locate
from ..plan import reading_with
from ..spec import (
    BlankModel,
    JobSpec,
    PretrainedInit,
    Problem,
    ResponseTask,
    SummarizationTask,
    Task,
    sha256_of,
)
from .model_checks import files_of, remembered_json, source_digest

SAMPLE = 2000
"""Rows of each split or set that are measured; evenly spaced ones of more."""

MOST_ROWS = 50_000
"""Training rows up to which the tokenizer of a teacher made from a config is trained here."""

LENGTHS = {"prompts": "max_prompt", "responses": "max_response", "texts": "max_length"}
"""The setting that truncates each kind of text."""


@dataclass(frozen=True)
class TextFacts:
    """How a job's models read its texts.

    lengths: by split or set, `training.lengths.lengths_json` of up to `SAMPLE` rows; empty if the
        tokenizer is not known yet.
    chat_template: digest of the chat templates; "" if none is read.
    """

    lengths: Mapping[str, Any] = field(default_factory=dict)
    chat_template: str = ""


def checked_texts(
    spec: JobSpec, data: DataFacts, teacher: ModelFacts, student: ModelFacts | None
) -> tuple[TextFacts, list[Problem]]:
    """Measure the data with the teacher's tokenizer, and try the chat template of every model."""
    model, conversations = spec.teacher.model, data.conversations is not None
    if isinstance(model, BlankModel):
        if conversations:
            return TextFacts(), [_BLANK]
        if data.sizes["train"] > MOST_ROWS:
            return TextFacts(), []
    sources = _sources(spec, teacher, student, conversations)
    tokenizers = [_key_of(model, revision) for model, revision, _ in sources]
    key = {
        "tokenizers": tokenizers,
        "data": [data.fingerprint, sorted((n, f.fingerprint) for n, f in data.evaluation.items())],
        "task": spec.task.to_json(),
        "code": _code(),
    }
    known = None if None in tokenizers else key
    found = remembered_json("texts", known, lambda: _examined(spec, data, teacher, sources))
    problems = [Problem(**problem) for problem in found.get("problems", ())]
    return TextFacts(found.get("lengths", {}), found.get("chat_template", "")), problems


def truncation_warnings(
    lengths: Mapping[str, Any], task: Task, data: DataFacts
) -> Iterator[Problem]:
    """One warning for each setting that truncates texts."""
    whole = {**data.sizes, **{name: facts.rows for name, facts in data.evaluation.items()}}
    for kind, key in LENGTHS.items():
        cut = {n: found for n, found in lengths.items() if found.get(kind, {}).get("cut")}
        if not cut:
            continue
        shares = ", ".join(
            f"{found[kind]['cut']:,} of {found['rows']:,} of {name}" for name, found in cut.items()
        )
        longest = max(found[kind]["longest"] for found in cut.values())
        bare = sum(found[kind]["bare"] for found in cut.values())
        template = f"; no room for the template's introduction in {bare:,}" if bare else ""
        sampled = any(found["rows"] < whole[name] for name, found in cut.items())
        yield Problem(
            f"task.{key}",
            f"{getattr(task, key)} tokens truncate {kind}: {shares}"
            f"{' (of a sample)' if sampled else ''}; the longest has {longest:,}{template}",
            f"raise {key} where they should be whole",
        )


_BLANK = Problem(
    "task.template",
    "conversations are read with a chat template, but a model created from a config has none",
    "name a chat model as teacher.model, or give instructions with outputs",
)

_Source = tuple[str | BlankModel, str | None, str]
"""A model, its revision, and the path of its key in the spec."""


def _sources(
    spec: JobSpec, teacher: ModelFacts, student: ModelFacts | None, conversations: bool
) -> list[_Source]:
    """The teacher, and a student with another tokenizer if its chat template matters."""
    found: list[_Source] = [(spec.teacher.model, spec.teacher.revision, "teacher.model")]
    init = spec.student.init
    if conversations and student is not None and isinstance(init, PretrainedInit):
        found.append((init.model, init.revision, "student.init.model"))
    return found


def _examined(
    spec: JobSpec, data: DataFacts, teacher: ModelFacts, sources: list[_Source]
) -> dict[str, Any]:
    """The facts as JSON, or `problems`."""
    from ..models import load_tokenizer, make_base_tokenizer
    from ..tasks import Chat, ChatTemplateError, NoRoomError
    from ..training.lengths import chat_digest, measure

    talks = data.conversations
    outputs = teacher.vocab_size if isinstance(spec.task, ResponseTask) else data.classes or 1
    reading = reading_with(spec, outputs, conversations=talks is not None)
    tables = _tables(spec.task, data)
    digests: list[str] = []
    lengths: dict[str, Any] = {}
    problems: list[dict[str, str]] = []
    for model, revision, path in sources:
        if isinstance(model, BlankModel):
            texts = training_texts(tables["train"])
            tokenizer = make_base_tokenizer(model.config, model.vocab_size, texts)
        else:
            tokenizer = load_tokenizer(locate(model, revision))
        try:
            if talks is not None:
                Chat(tokenizer).check(system=talks.system, turns=talks.turns)
                digests.append(chat_digest(tokenizer))
            prefix = spec.task.prefix if isinstance(spec.task, SummarizationTask) else ""
            sample = {name: _sample(table) for name, table in tables.items()}
            found = measure(sample, tokenizer, reading, prefix=prefix)
            lengths = lengths or found
        except ChatTemplateError as error:
            problems.append({"path": path, "message": error.message, "remedy": error.remedy})
        except NoRoomError as error:
            message, _, remedy = str(error).partition("; ")
            problems.append({"path": "task.max_prompt", "message": message, "remedy": remedy})
    if problems:
        return {"problems": problems}
    same = len(set(digests)) == 1
    chat = digests[0] if same else sha256_of(digests) if digests else ""
    return {"lengths": lengths, "chat_template": chat}


def _tables(task: Task, data: DataFacts) -> dict[str, pa.Table]:
    """The examples of all splits and sets."""
    splits = load_splits(task)
    tables = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    if data.conversations is not None:
        task = task.model_copy(update={"template": "chat"})
    return tables | {name: load_evaluation(task, name)[0] for name in task.evaluation}


def _sample(table: pa.Table) -> pa.Table:
    if len(table) <= SAMPLE:
        return table
    return table.take(pa.array(np.linspace(0, len(table) - 1, SAMPLE).astype(np.int64)))


def _key_of(model: str | BlankModel, revision: str | None) -> object:
    """The cache key of a model; None if it is not determined by local files."""
    if isinstance(model, BlankModel):
        return model.to_json()
    files = files_of(model, revision)
    return None if files is None else [files, _chat_file(model, revision)]


def _chat_file(model: str, revision: str | None) -> str:
    """The content of a chat template that is a file of its own."""
    source = locate(model, revision)
    file = source / "chat_template.jinja" if isinstance(source, Path) else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


@cache
def _code() -> str:
    """A digest of the code that reads texts: a change invalidates what is remembered."""
    package = Path(__file__).parents[1]
    files = [
        *package.glob("tasks/*.py"),
        *package.glob("data/*.py"),
        *package.glob("training/*.py"),
    ]
    return source_digest(files)
