"""One comparison with a baseline, its test corrected for all that were made, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .corrections import holm
from .crossed import CrossedMean
from .effect import hedges_g
from .seeds import paired_difference

SIGNIFICANCE = 0.05
"""The probability of any false alarm among the comparisons of one metric."""

MINIMUM_SEEDS = 3
"""Fewer shared seeds give no verdict."""

Verdict = Literal["distinguishable", "not distinguishable", "not tested"]


@dataclass(frozen=True)
class Comparison:
    """Ours minus the baseline, paired by seed and, where outputs are known, by test example.

    n: shared seeds.
    mean, std, ci95, p_t, p_wilcoxon: over the seeds alone, as in `PairedDifference`.
    effect_size: Hedges' g_z over the seeds; None for n < 3 and without spread.
    crossed: with the noise of the test examples; None if the outputs are not known, or n = 1.
    p_examples, examples_test: test over the test examples for these students, and its name.
    stochastic_order: ε_min of almost stochastic order, corrected for the comparisons; None unless
        requested.
    p_holm: `p` corrected for the comparisons of this metric; None if there is no p.
    comparisons: how many were corrected for; 0 before the correction.
    """

    n: int
    mean: float
    std: float | None
    ci95: tuple[float, float] | None
    p_t: float | None
    p_wilcoxon: float | None
    effect_size: float | None = None
    crossed: CrossedMean | None = None
    p_examples: float | None = None
    examples_test: str | None = None
    stochastic_order: float | None = None
    p_holm: float | None = None
    comparisons: int = 0

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% interval over seeds and examples if they are known, else over seeds; not corrected.

        None if there is none, or it would have no width.
        """
        interval = self.ci95 if self.crossed is None else self.crossed.ci95
        return None if interval is None or interval[0] == interval[1] else interval

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the test that belongs to `interval`; not corrected."""
        return self.p_t if self.crossed is None else self.crossed.p

    @property
    def verdict(self) -> Verdict:
        """Whether the difference survives the correction, from three shared seeds on."""
        if self.n < MINIMUM_SEEDS or self.p_holm is None:
            return "not tested"
        return "distinguishable" if self.p_holm < SIGNIFICANCE else "not distinguishable"


def compare(
    ours: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    crossed: CrossedMean | None = None,
    p_examples: float | None = None,
    examples_test: str | None = None,
) -> Comparison:
    """Compare over the shared seeds; see `Comparison`. Correct the result with `corrected`.

    Args:
        ours, baseline: seed → metric.
        crossed: mean of the paired differences over the same seeds, and the test examples.

    Raises:
        ValueError: no seed is shared, or a shared seed's value is not finite.
    """
    found = paired_difference(ours, baseline)
    shared = sorted(ours.keys() & baseline.keys())
    return Comparison(
        n=found.n,
        mean=found.mean,
        std=found.std,
        ci95=found.ci95,
        p_t=found.p_t,
        p_wilcoxon=found.p_wilcoxon,
        # Without spread up to rounding there is no effect size, as for the t-test.
        effect_size=hedges_g([ours[s] - baseline[s] for s in shared]) if found.std else None,
        crossed=crossed,
        p_examples=p_examples,
        examples_test=examples_test,
    )


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one metric with `p_holm`, in the order given.

    All of them count that have a p-value, also those of two seeds, which get no verdict.
    """
    found = [each.p for each in comparisons]
    tested = [p for p in found if p is not None]
    adjusted = iter(holm(tested))
    return [
        replace(each, comparisons=len(tested), p_holm=None if p is None else next(adjusted))
        for each, p in zip(comparisons, found, strict=True)
    ]
