"""Which words ROUGE compares: English ones, or those of any language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import regex  # type: ignore[import-untyped]

WordRule = Literal["words", "unicode"]
"""`words`: of a–z and digits, in lower case, with English stems; `unicode`: of any script."""

OTHER_LETTERS = 0.01
"""Share of letters outside a–z from which a set is not English. The references of Dolly have
0.0003, those of XSum 0.0001; German has about 0.015, French 0.04."""

_LETTERS = regex.compile(r"[^\p{L}]+")
_PLAIN = regex.compile(r"[A-Za-z]+")
_LATIN = regex.compile(r"[\p{Latin}]+")


def word_rules(references: Sequence[Sequence[str]]) -> list[WordRule]:
    """The rule by which each example of a set is read, given the correct responses of all.

    `unicode` for an example whose letters are mostly not Latin. Of the other examples, all or none:
    `unicode` if at least `OTHER_LETTERS` of their letters are outside a–z. Predictions have no
    influence, so that all models are measured alike.
    """
    letters = [_LETTERS.sub("", " ".join(several)) for several in references]
    foreign = [len(_LATIN.sub("", one)) * 2 > len(one) for one in letters]
    rest = [one for one, is_foreign in zip(letters, foreign, strict=True) if not is_foreign]
    other = sum(len(_PLAIN.sub("", one)) for one in rest)
    usual: WordRule = "words"
    if other and other >= OTHER_LETTERS * sum(map(len, rest)):
        usual = "unicode"
    return ["unicode" if is_foreign else usual for is_foreign in foreign]


def rule_of_set(rules: Sequence[WordRule]) -> str:
    """One word for the rules of a set: `words`, `unicode` or `mixed`."""
    found = set(rules) or {"words"}
    return found.pop() if len(found) == 1 else "mixed"


def word_rule_of(table: pa.Table) -> str:
    """The rule of a table of examples; `words` for tasks without text to compare."""
    if "references" not in table.column_names:
        return "words"
    return rule_of_set(word_rules(table["references"].to_pylist()))


def shown_rules(rules: Sequence[WordRule]) -> str:
    """The rules of a set in a few words, for people."""
    other = sum(rule == "unicode" for rule in rules)
    if rule_of_set(rules) == "mixed":
        return f"words; unicode for {other:,} of {len(rules):,} examples"
    return rule_of_set(rules)
