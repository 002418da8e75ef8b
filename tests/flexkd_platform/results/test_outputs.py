"""What groups predict, where they err and disagree, against the same counted by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from flexkd_platform.results import GroupOutputs, class_counts, confusion, disagreements
from flexkd_platform.spec import SpecError

DRAW = np.random.default_rng(0)
CLASSES, EXAMPLES, SEEDS = 4, 60, 5
NAMES = ("one", "two", "three", "four")


def classes(seeds: int = SEEDS, expected: tuple[int, ...] | None = None) -> GroupOutputs:
    labels = expected or tuple(map(int, DRAW.integers(0, CLASSES, EXAMPLES)))
    found = tuple(tuple(map(int, DRAW.integers(0, CLASSES, EXAMPLES))) for _ in range(seeds))
    return GroupOutputs("class", tuple(range(seeds)), found, labels, NAMES)


def label_sets(seeds: int = 3) -> GroupOutputs:
    def sets() -> tuple[frozenset[int], ...]:
        hot = DRAW.random((EXAMPLES, CLASSES)) < 0.4
        return tuple(frozenset(map(int, np.flatnonzero(row))) for row in hot)

    found = tuple(sets() for _ in range(seeds))
    return GroupOutputs("classes", tuple(range(seeds)), found, sets(), NAMES)


def test_a_group_predicts_what_most_seeds_predict() -> None:
    outputs = classes()
    for example in range(EXAMPLES):
        votes = Counter(of_seed[example] for of_seed in outputs.predicted)
        most = max(votes.values())
        winners = [label for label, count in votes.items() if count == most]
        assert outputs.consensus(example) == min(winners)
        assert outputs.agreeing(example) == most


def test_a_group_predicts_the_classes_of_more_than_half() -> None:
    outputs = label_sets(seeds=4)
    for example in range(EXAMPLES):
        for label in range(CLASSES):
            votes = sum(label in of_seed[example] for of_seed in outputs.predicted)  # type: ignore[operator]
            assert (label in outputs.consensus(example)) == (votes >= 3)  # type: ignore[operator]


def test_a_group_predicts_the_mean_number_and_the_first_text() -> None:
    numbers = GroupOutputs("number", (1, 2), ((1.0, 2.0), (2.0, 4.0)), (0.0, 0.0))
    assert [numbers.consensus(example) for example in (0, 1)] == [1.5, 3.0]
    texts = GroupOutputs("text", (1, 2), (("a", "b"), ("c", "d")), ("x", "y"))
    assert [texts.consensus(example) for example in (0, 1)] == ["a", "b"]


def test_the_confusion_matrix_is_that_of_scikit_learn_over_all_seeds() -> None:
    outputs = classes()
    found = confusion(outputs)
    assert found is not None
    expected = sum(
        confusion_matrix(outputs.expected, of_seed, labels=range(CLASSES))
        for of_seed in outputs.predicted
    )
    np.testing.assert_array_equal(found.counts, expected)
    assert (found.names, found.seeds) == (NAMES, SEEDS)
    assert confusion(label_sets()) is None


def test_classes_without_names_have_numbers() -> None:
    found = confusion(GroupOutputs("class", (1,), ((2, 0),), (0, 0)))
    assert found is not None
    assert found.names == ("0", "1", "2")
    assert found.counts == ((1, 0, 1), (0, 0, 0), (0, 0, 0))


def test_the_decisions_on_each_class_are_counted() -> None:
    outputs = label_sets()
    for place, found in enumerate(class_counts(outputs)):
        hits = [
            (place in label, place in guess)  # type: ignore[operator]
            for of_seed in outputs.predicted
            for label, guess in zip(outputs.expected, of_seed, strict=True)
        ]
        counts = (found.true_positive, found.false_negative, found.false_positive)
        assert counts == tuple(
            hits.count(kind) for kind in [(True, True), (True, False), (False, True)]
        )
        assert sum(counts) + found.true_negative == len(hits)
        assert found.name == NAMES[place]
    assert class_counts(classes()) == []


def test_every_disagreement_is_found_with_who_is_right() -> None:
    first = classes()
    second = classes(seeds=3, expected=first.expected)  # type: ignore[arg-type]
    found = {one.example: one for one in disagreements(first, second)}
    for example, label in enumerate(first.expected):
        ours, theirs = first.consensus(example), second.consensus(example)
        assert (example in found) == (ours != theirs)
        if example in found:
            right = "first" if ours == label else "second" if theirs == label else "neither"
            assert found[example].right == right


def test_the_largest_differences_come_first() -> None:
    one = GroupOutputs("number", (1,), ((1.0, 2.0, 3.0),), (0.0, 0.0, 0.0))
    other = GroupOutputs("number", (1,), ((1.5, 9.0, 3.0),), (0.0, 0.0, 0.0))
    assert [found.example for found in disagreements(one, other)] == [1, 0]
    texts = [
        GroupOutputs("text", (1,), (written,), ("r", "r"), scores={"rougeL": scores})
        for written, scores in ((("a", "b"), (0.5, 0.1)), (("c", "d"), (0.6, 0.9)))
    ]
    assert [found.example for found in disagreements(*texts)] == [1, 0]
    assert {found.right for found in disagreements(*texts)} == {""}


def test_groups_on_other_examples_are_refused() -> None:
    with pytest.raises(SpecError, match="different examples"):
        disagreements(classes(), classes())
