"""ROUGE F-measures of generated texts against their references."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import regex  # type: ignore[import-untyped]

NAMES = ("rouge1", "rouge2", "rougeL")

# Scripts that are written without spaces between words: each character is a word, as in the
# evaluation of Chinese summaries (Hu et al. 2015, arXiv:1506.05865).
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_WORDS = regex.compile(
    rf"(?V1)(?:[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+)"
)


class UnicodeWords:
    """Words of any script: runs of letters, marks and digits, lower-cased after NFKC.

    A character of a script without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan)
    is a word of its own, with its marks. There is no stemming.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in order."""
        found: list[str] = _WORDS.findall(unicodedata.normalize("NFKC", text).lower())
        return found


def rouge(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    rules: Sequence[Literal["words", "unicode"]] | None = None,
) -> dict[str, list[float]]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F-measures of each prediction, in [0, 1].

    F = 2PR / (P + R), of the n-grams or of the longest common subsequence. With several references,
    each metric uses the one with its best score. `rougeL` reads a text as one sequence and ignores
    newlines; the sentence-wise metric `rougeLsum` is not computed. A text without words scores 0.
    Lin 2004, as package rouge-score computes it.

    Args:
        rules: what the words of each example are; all `words` when None. `words`: lower-case
            words of letters a–z and digits; those of more than three letters are reduced to their
            Porter stem, which is English. `unicode`: see `UnicodeWords`.

    Raises:
        ValueError: the numbers of predictions, of reference lists and of rules differ, or a list is
            empty.
    """
    # Imported here: it imports NLTK, which checks of a spec do not use.
    from rouge_score import rouge_scorer  # type: ignore[import-untyped]

    require_references(predictions, references)
    scorers = {
        "words": rouge_scorer.RougeScorer(list(NAMES), use_stemmer=True),
        "unicode": rouge_scorer.RougeScorer(list(NAMES), tokenizer=UnicodeWords()),
    }
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    rules = ["words"] * len(predictions) if rules is None else rules
    for prediction, several, rule in zip(predictions, references, rules, strict=True):
        scores = [scorers[rule].score(reference, prediction) for reference in several]
        for name, values in found.items():
            values.append(max(float(score[name].fmeasure) for score in scores))
    return found


def mean_rouge(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean of the scores of `rouge` over the examples, in [0, 1]; papers print it × 100.

    Raises:
        ValueError: there is no example.
    """
    if not all(scores.values()):
        raise ValueError("no predictions to take the mean of")
    return {name: float(np.mean(values)) for name, values in scores.items()}


def require_references(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raise ValueError unless each prediction has at least one reference."""
    if len(predictions) != len(references):
        raise ValueError(
            f"{len(predictions)} predictions and {len(references)} lists of references; "
            "give one list for each prediction"
        )
    empty = [place for place, several in enumerate(references) if not several]
    if empty:
        raise ValueError(f"no reference for prediction {empty[0]}; give at least one")
