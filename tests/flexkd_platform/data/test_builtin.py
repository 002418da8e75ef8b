"""The data set of the package: its counts, its splits, and that they stay what they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import SPLITS, Splits, check_data, load_splits
from flexkd_platform.data.builtin import FILES
from flexkd_platform.spec import BuiltinData, ClassificationTask, RegressionTask

REGRESSION = RegressionTask(kind="regression")

# Content of the committed file and READING_VERSION 1; a change makes every old result another one.
FINGERPRINT = "c1d463e2ef46bae1f0807b161071c1e7bcba372f5552f775a0271e6c4d4d4820"

FIRST_ROWS = {
    "train": ("The Rock is destined to ", 1),
    "validation": ("If you sometimes like to", 1),
    "test": ("Tender yet lacerating an", 1),
}
PLACES_OF_FIVE = [539, 1252, 4317, 5850, 6393]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(ClassificationTask())


def texts(table: pa.Table) -> list[str]:
    return list(table["text"].to_pylist())


def test_the_file_is_small_and_has_the_published_number_of_rows() -> None:
    file = FILES["movie-reviews"]
    assert file.stat().st_size < 1_000_000
    rated = pq.read_table(file)
    assert rated.schema.names == ["id", "text", "rating"]
    assert rated["id"].to_pylist() == list(range(1, 10_606))  # 10,605: the source's own README
    assert pc.min_max(rated["rating"]).as_py() == {"min": -3.875, "max": 3.9411764705882355}
    assert pc.sum(pc.equal(rated["rating"], 0)).as_py() == 37


def test_facts() -> None:
    facts, problems = check_data(ClassificationTask())
    assert problems == []
    assert facts is not None
    assert facts.fingerprint == FINGERPRINT
    assert facts.sizes == {"train": 8534, "validation": 1013, "test": 1058}
    assert facts.classes == 2


def test_class_balance(splits: Splits) -> None:
    positive = {name: pc.sum(getattr(splits, name)["label"]).as_py() for name in SPLITS}
    assert positive == {"train": 4220, "validation": 507, "test": 515}
    assert splits.train.schema == pa.schema([("text", pa.string()), ("label", pa.int64())])


def test_no_text_is_in_two_splits(splits: Splits) -> None:
    different = [set(texts(getattr(splits, name))) for name in SPLITS]
    assert sum(map(len, different)) == len(set.union(*different)) == 10_603


def test_the_split_follows_the_rule_that_is_written_beside_the_file(splits: Splits) -> None:
    for name, low, high in [("test", 0.0, 0.1), ("validation", 0.1, 0.2), ("train", 0.2, 1.0)]:
        for text in texts(getattr(splits, name))[:50]:
            digest = hashlib.blake2b(b"split 0\0" + text.encode(), digest_size=8).digest()
            assert low <= int.from_bytes(digest, "big") / 2**64 < high


def test_first_rows_of_each_split(splits: Splits) -> None:
    first = {name: getattr(splits, name).slice(0, 1).to_pylist()[0] for name in SPLITS}
    assert {name: (row["text"][:24], row["label"]) for name, row in first.items()} == FIRST_ROWS


def test_regression_has_the_same_texts_and_the_rating(splits: Splits) -> None:
    rated = load_splits(REGRESSION)
    facts, _ = check_data(REGRESSION)
    assert facts is not None
    assert facts.classes is None
    assert facts.fingerprint == FINGERPRINT
    for name in SPLITS:
        table = getattr(rated, name)
        assert table["text"].equals(getattr(splits, name)["text"])
        assert table.schema.field("label").type == pa.float64()
        positive = pc.greater(table["label"], 0).cast(pa.int64())
        assert positive.equals(getattr(splits, name)["label"])


def test_subsets_are_drawn_alike_and_keep_the_order(splits: Splits) -> None:
    data = BuiltinData(train=5, validation=3, test=4)
    small = load_splits(ClassificationTask(data=data))
    assert [len(getattr(small, name)) for name in SPLITS] == [5, 3, 4]
    whole = texts(splits.train)
    places = [whole.index(text) for text in texts(small.train)]
    assert places == PLACES_OF_FIVE
    larger = load_splits(ClassificationTask(data=data.model_copy(update={"train": 50})))
    assert set(texts(small.train)) < set(texts(larger.train))
    reseeded = load_splits(ClassificationTask(data=data.model_copy(update={"subset_seed": 1})))
    assert texts(reseeded.train) != texts(small.train)
    assert set(texts(reseeded.train)) < set(whole)


def test_asking_for_more_than_there_is() -> None:
    _, problems = check_data(ClassificationTask(data=BuiltinData(train=9000, test=1500)))
    assert [(problem.path, problem.message) for problem in problems] == [
        ("task.data.train", "9,000 examples requested, but train has 8,534"),
        ("task.data.test", "1,500 examples requested, but test has 1,058"),
    ]
    assert problems[1].remedy == "request at most 1,058, or leave it out to use them all"


def test_every_data_set_is_described() -> None:
    train_rows = {"movie-reviews": "8,534", "docstrings": "4,557"}
    assert FILES.keys() == train_rows.keys()
    for name, file in FILES.items():
        described = Path(file).with_suffix(".md").read_text(encoding="utf-8")
        assert "Licence" in described
        assert train_rows[name] in described
