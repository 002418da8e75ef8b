"""ROUGE against n-grams and subsequences counted by hand, and the numbers of MiniLLM's protocol."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

from flexkd_platform.tasks.rouge import UnicodeWords, mean_rouge, rouge

GOLDEN = json.loads((Path(__file__).parent / "golden" / "rouge.json").read_text())
TEXTS = st.text(alphabet="aAbc dD.\n", max_size=16)


def words(text: str) -> list[str]:
    stem = PorterStemmer().stem
    return [stem(w) if len(w) > 3 else w for w in re.findall("[a-z0-9]+", text.lower())]


def f_measure(common: int, predicted: int, expected: int) -> float:
    return 2 * common / (predicted + expected) if common else 0.0


def ngram_f(prediction: str, reference: str, size: int) -> float:
    one, other = (
        Counter(tuple(w[i : i + size]) for i in range(len(w) - size + 1))
        for w in (words(prediction), words(reference))
    )
    return f_measure((one & other).total(), one.total(), other.total())


def subsequence_f(prediction: str, reference: str) -> float:
    one, other = words(prediction), words(reference)
    lengths = [0] * (len(other) + 1)
    for word in one:
        before = lengths
        lengths = [0]
        for place, theirs in enumerate(other):
            same = before[place] + 1 if word == theirs else 0
            lengths.append(max(same, before[place + 1], lengths[-1]))
    return f_measure(lengths[-1], len(one), len(other))


def expected(prediction: str, reference: str) -> dict[str, float]:
    return {
        "rouge1": ngram_f(prediction, reference, 1),
        "rouge2": ngram_f(prediction, reference, 2),
        "rougeL": subsequence_f(prediction, reference),
    }


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_each_metric_is_that_of_its_best_reference(prediction: str, references: list[str]) -> None:
    found = rouge([prediction], [references])
    scores = [expected(prediction, reference) for reference in references]
    for name, values in found.items():
        assert values == pytest.approx([max(score[name] for score in scores)])
        assert 0 <= values[0] <= 1


@pytest.mark.parametrize(("prediction", "references"), GOLDEN["answers"])
def test_real_texts(prediction: str, references: list[str]) -> None:
    found = rouge([prediction], [references])
    scores = [expected(prediction, reference) for reference in references]
    best = {name: [max(score[name] for score in scores)] for name in found}
    assert found == {name: pytest.approx(values) for name, values in best.items()}


def test_the_protocol_of_minillm() -> None:
    """`golden/make_rouge.py` says how the numbers were made."""
    predictions, references = zip(*GOLDEN["answers"], strict=True)
    found = rouge(predictions, references)
    assert len(predictions) == 12
    assert found["rougeL"] == pytest.approx(GOLDEN["rougeL"])
    assert 100 * mean_rouge(found)["rougeL"] == pytest.approx(GOLDEN["mean x 100"])


def test_by_hand() -> None:
    """4 words against 5: 3 in common, 1 of 3 and 4 pairs, a subsequence of 2."""
    found = rouge(["dog sees a cat"], [["a cat and no dog"]])
    assert found == {
        "rouge1": [pytest.approx(6 / 9)],
        "rouge2": [pytest.approx(2 / 7)],
        "rougeL": [pytest.approx(4 / 9)],
    }
    assert mean_rouge({"rougeL": [0.5, 0.25, 0]}) == {"rougeL": pytest.approx(0.25)}


def test_a_metric_may_be_best_at_a_reference_of_its_own() -> None:
    found = rouge(["a b c d"], [["d c b a", "a b x y z"]])
    assert found["rouge1"] == [1.0]
    assert found["rouge2"] == [pytest.approx(2 / 7)]


def test_newlines_are_spaces() -> None:
    """rougeLsum would score the lines one by one, and find all of them."""
    prediction, reference = "first line\nsecond line", "second line\nfirst line"
    found = rouge([prediction], [[reference]])
    assert found["rougeL"] == [0.5]
    assert found == rouge([prediction.replace("\n", " ")], [[reference.replace("\n", " ")]])


def test_texts_without_words_score_nothing() -> None:
    assert rouge([""], [[""]]) == {"rouge1": [0.0], "rouge2": [0.0], "rougeL": [0.0]}
    assert rouge([], []) == {"rouge1": [], "rouge2": [], "rougeL": []}


def test_wrong_requests() -> None:
    with pytest.raises(ValueError, match="2 predictions and 1 lists"):
        rouge(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="no reference for prediction 1"):
        rouge(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="no prediction"):
        mean_rouge(rouge([], []))


SENTENCES = [
    "这是一个用于测试的中文句子。",
    "Сегодня хорошая погода, пойдём в парк.",
    "これは日本語の文章です。カタカナー",
    "ประเทศไทยเป็นประเทศที่สวยงาม",
    "यह हिन्दी का एक वाक्य है",
    "هذه جملة عربية للاختبار",
    "Η Αθήνα είναι όμορφη",
    "זהו משפט בעברית",
    "이것은 한국어 문장입니다",
    "Grüße aus Köln, schöne Straße",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_identical_texts_of_any_script_score_one(text: str) -> None:
    found = rouge([text], [[text]], ["unicode"])
    assert found == {"rouge1": [1.0], "rouge2": [1.0], "rougeL": [1.0]}
    assert rouge([text], [["something else entirely"]], ["unicode"])["rouge1"] == [0.0]


@given(st.text(alphabet="abc xyz.\n12", max_size=30), st.text(alphabet="abc xyz.\n12", max_size=30))
def test_unicode_words_are_those_of_english_but_for_the_stems(one: str, other: str) -> None:
    plain = [" ".join(word[:3] for word in text.split()) for text in (one, other)]
    short = all(len(word) <= 3 for text in plain for word in re.findall("[a-z0-9]+", text))
    assert short  # of three letters at most, so that none is stemmed
    prediction, reference = plain
    assert rouge([prediction], [[reference]], ["unicode"]) == rouge([prediction], [[reference]])


def test_unicode_words_by_hand() -> None:
    words = UnicodeWords().tokenize
    assert words("GPT模型 2025年 ﬁne ＡＢ") == ["gpt", "模", "型", "2025", "年", "fine", "ab"]
    assert words("हिन्दी don't") == ["हिन्दी", "don", "t"]
    assert words("й") == words("\u0438\u0306") == ["й"]
    assert words("ที่") == ["ที่"]
    # 4 of 5 and 6 characters in order: F = 8 / 11.
    found = rouge(["天气很好吗"], [["今天天气很好"]], ["unicode"])
    assert found["rougeL"] == [pytest.approx(8 / 11)]
