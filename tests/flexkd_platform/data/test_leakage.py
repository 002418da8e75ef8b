"""Leakage between splits: counted and named, or left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.data.leakage import near_rows, nearly_shared, plain_texts
from flexkd_platform.spec import FilesData, Problem, Task

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]

TRAIN = [(f"text {n}", n % 2) for n in range(100)]
OTHERS = [(f"other {n}", n % 2) for n in range(20)]


def texts(task: Task) -> dict[str, set[str]]:
    splits = load_splits(task)
    return {name: set(getattr(splits, name)["text"].to_pylist()) for name in SPLITS}


def facts(task: Task) -> Any:
    found, problems = check_data(task)
    assert problems == [], [str(problem) for problem in problems]
    return found


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def leaking(write_rows: WriteRows) -> Path:
    """9 of 19 test rows in train, 5 of 15 validation rows in train, 4 of them in test too."""
    write_rows("d/train.csv", TRAIN)
    write_rows("d/test.csv", [*TRAIN[:9], *OTHERS[:10]])
    return write_rows("d/validation.csv", [*TRAIN[5:10], *OTHERS[10:]]).parent


def test_leakage_is_named(write_rows: WriteRows, task_on: TaskOn) -> None:
    notes = facts(task_on(leaking(write_rows))).notes
    assert [(note.path, note.message) for note in notes] == [
        ("task.data", "4 of 15 validation examples are also in test"),
        ("task.data", "9 of 19 test examples are also in train"),
        ("task.data", "5 of 15 validation examples are also in train"),
    ]
    assert "drop_leaked: true" in notes[1].remedy


def test_splits_without_leakage(write_rows: WriteRows, task_on: TaskOn) -> None:
    assert facts(task_on(write_rows("d.csv", [*TRAIN, *TRAIN]))).notes == ()
    write_rows("e/train.csv", TRAIN)
    assert facts(task_on(write_rows("e/test.csv", OTHERS).parent)).notes == ()


def test_test_keeps_what_is_in_several_splits(write_rows: WriteRows, task_on: TaskOn) -> None:
    task = task_on(leaking(write_rows), drop_leaked=True)
    found = texts(task)
    assert found["test"] == {text for text, _ in [*TRAIN[:9], *OTHERS[:10]]}
    assert found["validation"] == {"text 9", *(text for text, _ in OTHERS[10:])}
    assert found["train"] == {text for text, _ in TRAIN[10:]}
    (note,) = facts(task).notes
    assert note.message.endswith("are left out: 10 of train, 4 of validation")
    assert facts(task).dropped == load_splits(task).dropped
    assert facts(task).dropped == {"train": 10, "validation": 4, "test": 0}


def test_a_split_that_is_drawn_afterwards(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.csv", TRAIN)
    folder = write_rows("d/test.csv", [*TRAIN[:30], *OTHERS]).parent
    found = texts(task_on(folder, drop_leaked=True, train=50))
    assert not found["test"] & (found["train"] | found["validation"])
    assert len(found["train"]) == 50


def test_the_same_text_with_another_label_leaks(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.csv", TRAIN)
    folder = write_rows("d/test.csv", [(text, 1 - y) for text, y in TRAIN[:3]] + OTHERS).parent
    messages = [note.message for note in facts(task_on(folder)).notes]
    assert any(" of 23 test examples are also in train" in message for message in messages)


def test_nothing_is_left(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", TRAIN)
    folder = write_rows("d/test.csv", TRAIN).parent
    problem = only(problems(folder, drop_leaked=True))
    assert problem.path == "task.data.drop_leaked"
    assert problem.message == "all 100 examples of train are in another split too"


def test_drawn_splits_cannot_leak(write_rows: WriteRows, problems: Problems) -> None:
    problem = only(problems(write_rows("d.csv", TRAIN), drop_leaked=True))
    assert problem.path == "task.data.drop_leaked"
    assert problem.remedy == "leave it out"


def test_evaluation_sets(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("more.csv", [*TRAIN, *OTHERS])
    task = task_on(write_rows("d.csv", TRAIN))
    rows = facts(task).sizes["train"]
    more = {"more": FilesData(source="files", path=str(file))}
    (note,) = facts(task.model_copy(update={"evaluation": more})).notes
    assert note.path == "task.evaluation.more"
    assert note.message == f"{rows} of 120 examples are also in train"
    data = FilesData(source="files", path=str(file), drop_leaked=True, stratified=True)
    _, problems = check_data(task.model_copy(update={"evaluation": {"more": data}}))
    assert [problem.path for problem in problems] == [
        "task.evaluation.more.drop_leaked",
        "task.evaluation.more.stratified",
    ]


# --- near duplicates ------------------------------------------------------------------------------


def nearly_leaking(write_rows: WriteRows) -> Path:
    """Of 22 test rows, 2 are in train and 3 nearly."""
    write_rows("d/train.csv", [*TRAIN, ("Good film!", 1), ("1+1", 0), ("...", 0)])
    near = [("TEXT 5.", 1), ("  text   6", 0), ("good, film", 1)]
    far = [("11", 0), ("!!!", 1), *OTHERS[:15]]
    write_rows("d/validation.csv", OTHERS[15:])
    return write_rows("d/test.csv", [*TRAIN[:2], *near, *far]).parent


def test_near_duplicates_are_named_beside_exact_ones(
    write_rows: WriteRows, task_on: TaskOn
) -> None:
    """Symbols are not punctuation, and a text of punctuation alone is itself."""
    notes = facts(task_on(nearly_leaking(write_rows))).notes
    (message,) = [note.message for note in notes if "test examples" in note.message]
    assert message == (
        "2 of 22 test examples are also in train, and 3 more but for case, spaces and punctuation "
        "(drop_leaked: near)"
    )


def test_one_near_duplicate(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.csv", TRAIN)
    write_rows("d/validation.csv", OTHERS[:5])
    folder = write_rows("d/test.csv", [("Text 5", 1), *OTHERS[5:]]).parent
    (note,) = facts(task_on(folder)).notes
    assert note.message == (
        "1 of 16 test examples is also in train but for case, spaces and punctuation"
    )
    assert note.remedy == "set drop_leaked: near, which leaves them out of train"


def test_near_duplicates_stay_unless_asked(write_rows: WriteRows, task_on: TaskOn) -> None:
    folder = nearly_leaking(write_rows)
    exact = task_on(folder, drop_leaked=True)
    assert facts(exact).dropped["train"] == 2
    near = task_on(folder, drop_leaked="near")
    assert facts(near).dropped["train"] == 5
    assert len(texts(near)["test"]) == 22
    kept = texts(near)["train"] | texts(near)["validation"]
    assert {"1+1", "..."} <= kept
    assert not {"text 5", "text 6", "Good film!"} & kept


def test_splits_that_are_drawn_share_no_near_duplicates_if_asked(
    write_rows: WriteRows, task_on: TaskOn
) -> None:
    """Near duplicates have one key, so that they are drawn for one split; none is left out."""
    shouted = [(text.upper() + "!", label) for text, label in TRAIN]
    file = write_rows("d.csv", [*TRAIN, *shouted])
    messages = [note.message for note in facts(task_on(file)).notes]
    assert all(message.endswith("case, spaces and punctuation") for message in messages)
    assert len(messages) == 3
    task = task_on(file, drop_leaked="near")
    assert facts(task).notes == ()
    assert sum(facts(task).sizes.values()) == 200
    found = {name: {t.lower().rstrip("!") for t in split} for name, split in texts(task).items()}
    assert not found["test"] & (found["train"] | found["validation"])
    assert not found["train"] & found["validation"]


def test_pairs_are_near_if_both_texts_are(write_rows: WriteRows) -> None:
    own = pa.table({"text": ["A b", "a", "A!"], "text_pair": ["c", "b c", "d"]})
    other = pa.table({"text": ["ab", "a"], "text_pair": ["C.", "x"]})
    assert near_rows(own, other).to_pylist() == [True, False, False]
    assert nearly_shared(own, other) == 1


def test_words_of_other_scripts_keep_their_marks() -> None:
    """Hindi writes vowels as marks: without them two words would be one."""
    texts = pa.chunked_array([["की।", "का", "ＡＢ", "Straße"]])
    assert plain_texts(texts).to_pylist() == ["की", "का", "ab", "straße"]
