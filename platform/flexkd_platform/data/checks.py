"""Everything that is wrong with a task's data, and the examples once nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ..spec import BuiltinData, Problem, SpecError, Task
from .labels import LABELS, Labels
from .reading import Examples, Reading
from .sources import READERS
from .splits import SPLITS, Splits, drawn, subset


@dataclass(frozen=True)
class DataFacts:
    """What a plan needs to know of the data.

    fingerprint: hex SHA-256 of the source's content: of the files' bytes, or of the name and
        commit on the hub; never of paths or times. The task says what is made of that content.
    sizes: examples of each split as they will be used.
    classes: classes of the head, the largest label of all splits + 1 unless the task says it;
        None for regression.
    """

    fingerprint: str
    sizes: Mapping[str, int]
    classes: int | None


def load_splits(task: Task) -> Splits:
    """The examples of a task: missing splits drawn from train, subsets drawn, order kept.

    Raises:
        SpecError: what `check_data` finds.
    """
    splits, _, problems = _examine(task, "task.data")
    if splits is None:
        raise SpecError(problems)
    return splits


def check_data(task: Task, *, path: str = "task.data") -> tuple[DataFacts | None, list[Problem]]:
    """Read a task's data and find everything that is wrong with it.

    Args:
        task: the task; all of its data is read, on the hub after one question that ends within
            seconds if the hub does not answer.
        path: of the data section in the spec, which the problems' paths start with.

    Returns:
        The facts, None if and only if there are problems; and the problems.
    """
    _, facts, problems = _examine(task, path)
    return facts, problems


def _examine(task: Task, path: str) -> tuple[Splits | None, DataFacts | None, list[Problem]]:
    reading = READERS[task.data.source](task, path)
    labels = LABELS[task.kind](reading.splits, task, path)
    problems = [*reading.problems, *_text_problems(reading, path), *labels.problems]
    if all(_is_text(examples.table["text"].type) for examples in reading.splits.values()):
        problems += _emptiness(reading)
        if not reading.problems:
            tables, found = _cut(reading, labels, task, path)
            problems += found
    if problems:
        return None, None, problems
    sizes = {split: len(tables[split]) for split in SPLITS}
    facts = DataFacts(reading.fingerprint, sizes, labels.classes)
    return Splits(**tables), facts, []


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    # A column of nulls alone has a type of its own; its rows are reported, not the column.
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    return any(test(value) for test in tests)


def _text_problems(reading: Reading, path: str) -> list[Problem]:
    problems = []
    for examples in reading.splits.values():
        text = examples.table["text"]
        if not _is_text(text.type):
            message = f"the texts of {examples.origin} are of type {text.type}"
            remedy = "name the column that holds the text"
            problems.append(Problem(f"{path}.text", message, remedy))
            continue
        trimmed = pc.utf8_trim_whitespace(text.cast(pa.string()))
        empty_N = pc.equal(trimmed, "").fill_null(True).to_numpy()
        if empty_N.any():
            message = f"{examples.rows(empty_N)} has no text"
            problems.append(Problem(f"{path}.text", message, "give the row a text or take it out"))
    return problems


def _emptiness(reading: Reading) -> list[Problem]:
    remedy = "fill it; a validation or test split that is not there at all is drawn from train"
    return [
        Problem(reading.place, f"{examples.origin} has no examples", remedy)
        for examples in reading.splits.values()
        if len(examples.table) == 0
    ]


def _cut(
    reading: Reading, labels: Labels, task: Task, path: str
) -> tuple[dict[str, pa.Table], list[Problem]]:
    """All three splits in the sizes asked for, and what is wrong with those sizes."""
    data = task.data
    tables = {name: _table(examples, labels, name) for name, examples in reading.splits.items()}
    problems = []
    if any(len(table) == 0 for table in tables.values()):
        return tables, []
    missing = [split for split in SPLITS if split not in tables]
    if missing:
        assert not isinstance(data, BuiltinData), "data sets of the package have all splits"
        both = {"validation": data.validation_share, "test": data.test_share}
        shares = {split: both[split] for split in missing}
        if sum(shares.values()) >= 1:
            message = f"{' and '.join(missing)} take {sum(shares.values()):g} of the train split"
            problems.append(Problem(f"{path}.test_share", message, "leave some for training"))
            return tables, problems
        part_N = drawn(tables["train"]["text"].to_pylist(), shares, data.subset_seed)
        whole = tables["train"]
        tables |= {split: whole.filter(pa.array(part_N == split)) for split in (*missing, "train")}
    for split in SPLITS:
        rows, wanted = len(tables[split]), getattr(data, split)
        if rows == 0:
            message = f"no example is left for the {split} split, which is drawn from train"
            remedy = f"give more examples, a {split} file, or other shares"
            problems.append(Problem(reading.place, message, remedy))
        elif wanted is not None and wanted > rows:
            from_train = " once the missing splits are drawn from it" if missing else ""
            message = f"{wanted:,} examples are asked for, but {split} has {rows:,}{from_train}"
            remedy = f"ask for {rows:,} at most, or leave it out to use them all"
            problems.append(Problem(f"{path}.{split}", message, remedy))
        elif wanted is not None:
            tables[split] = subset(tables[split], wanted, split, data.subset_seed)
    train = tables["train"]
    if not labels.problems and len(train) and pc.count_distinct(train["label"]).as_py() < 2:
        problems.append(_one_label(train, task, path))
    return tables, problems


def _table(examples: Examples, labels: Labels, name: str) -> pa.Table:
    text = examples.table["text"].cast(pa.string())
    return pa.table({"text": text, "label": labels.columns.get(name, examples.table["label"])})


def _one_label(train: pa.Table, task: Task, path: str) -> Problem:
    where = f"{path}.train" if task.data.train is not None else f"{path}.label"
    label = train["label"][0].as_py()
    message = f"all {len(train):,} training examples have the label {label}"
    return Problem(where, message, "training needs examples of two labels at least")
