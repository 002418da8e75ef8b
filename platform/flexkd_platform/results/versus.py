"""The comparison of one group with its baseline, and the correction over all groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flexkd_core.statistics import Comparison, almost_stochastic_order, compare, corrected
from flexkd_core.statistics.comparison import SIGNIFICANCE
from flexkd_core.statistics.dominance import MINIMUM

from ..spec import is_lower_better
from ..tracking import TrialRecord
from .example_scores import ExampleScores, crossed, difference, examples_test

Trials = Mapping[int, TrialRecord]
"""Seed → trial. Every trial has a finite value of the metric."""


def lower_is_better(metric: str) -> bool:
    """Whether a lower value of a metric is better, on any split."""
    return is_lower_better(metric.rsplit("/", 1)[-1])


def compared(
    ours: Trials, baseline: Trials, metric: str, examples: ExampleScores | None
) -> Comparison:
    """Compare over the shared seeds, and over the examples that both were measured on."""
    values, others = _values(ours, metric), _values(baseline, metric)
    if examples is None:
        return compare(values, others)
    shared = sorted(ours.keys() & baseline.keys())
    differences = difference(
        examples.of([ours[seed] for seed in shared], metric),
        examples.of([baseline[seed] for seed in shared], metric),
    )
    p, name = examples_test(differences)
    return compare(values, others, crossed=crossed(differences), p_examples=p, examples_test=name)


def all_corrected(
    versus: Sequence[dict[str, Comparison] | None], metrics: Sequence[str]
) -> list[dict[str, Comparison] | None]:
    """The comparisons of all groups, each metric's corrected for their number."""
    found = [None if each is None else dict(each) for each in versus]
    for metric in metrics:
        having = [each for each in found if each is not None and metric in each]
        adjusted = corrected([each[metric] for each in having])
        for each, comparison in zip(having, adjusted, strict=True):
            each[metric] = comparison
    return found


def with_stochastic_order(
    comparison: Comparison, ours: Trials, baseline: Trials, metric: str
) -> Comparison:
    """With almost stochastic order at its level divided by the number of comparisons.

    Unchanged if one of the two has fewer than five seeds. They need not be the same ones.
    """
    if min(len(ours), len(baseline)) < MINIMUM:
        return comparison
    sign = -1.0 if lower_is_better(metric) else 1.0
    scores = [[sign * v for v in _values(side, metric).values()] for side in (ours, baseline)]
    level = SIGNIFICANCE / max(comparison.comparisons, 1)
    return replace(comparison, stochastic_order=almost_stochastic_order(*scores, level=level))


def _values(trials: Trials, metric: str) -> dict[int, float]:
    return {seed: trial.metrics[metric] for seed, trial in sorted(trials.items())}
