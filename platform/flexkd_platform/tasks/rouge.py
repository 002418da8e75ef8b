"""ROUGE F-measures of generated texts against their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NAMES = ("rouge1", "rouge2", "rougeL")


def rouge(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, list[float]]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F-measures of each prediction, in [0, 1].

    F = 2PR / (P + R), of the n-grams or of the longest common subsequence, over lower-cased words
    of letters a–z and digits; words of more than three letters are reduced to their Porter stem.
    With several references, each metric uses the one with its best score. `rougeL` reads a text as
    one sequence and ignores newlines; the sentence-wise metric `rougeLsum` is not computed. A text
    without such words scores 0. Lin 2004, as package rouge-score computes it.

    Raises:
        ValueError: the numbers of predictions and of reference lists differ, or a list is empty.
    """
    # Imported here: it imports NLTK, which checks of a spec do not use.
    from rouge_score import rouge_scorer  # type: ignore[import-untyped]

    require_references(predictions, references)
    scorer = rouge_scorer.RougeScorer(list(NAMES), use_stemmer=True)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for prediction, several in zip(predictions, references, strict=True):
        scores = [scorer.score(reference, prediction) for reference in several]
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
