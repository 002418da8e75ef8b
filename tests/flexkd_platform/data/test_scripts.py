"""Which words ROUGE compares, by the letters of the references alone."""

from __future__ import annotations

import pytest

from flexkd_platform.data.scripts import rule_of_set, shown_rules, word_rules

ENGLISH = ["The cat sat on the mat in front of the house"] * 30


@pytest.mark.parametrize(
    ("references", "rule"),
    [
        (ENGLISH, "words"),
        ([*ENGLISH, "A naïve café"], "words"),
        (["12 34", "!?", ""], "words"),
        ([], "words"),
        (["今天天气很好", "我们去公园"], "unicode"),
        (["Сегодня хорошая погода"], "unicode"),
        (["Die Straße ist schön und grün"], "unicode"),
        (["Le café est fermé aujourd'hui"], "unicode"),
    ],
)
def test_the_rule_of_a_set(references: list[str], rule: str) -> None:
    rules = word_rules([[text] for text in references])
    assert rules == [rule] * len(references)
    assert rule_of_set(rules) == rule
    assert shown_rules(rules) == rule


def test_a_row_of_another_script_has_its_own_rule() -> None:
    rules = word_rules([*([text] for text in ENGLISH), ["今天 OK", "天气"]])
    assert rules == ["words"] * 30 + ["unicode"]
    assert rule_of_set(rules) == "mixed"
    assert shown_rules(rules) == "words; unicode for 1 of 31 examples"
