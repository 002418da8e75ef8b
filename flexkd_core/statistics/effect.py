"""Effect size of a paired difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MINIMUM = 3
"""With 2 pairs, Hedges' correction is 0: two differences do not determine an effect size."""


def hedges_g(difference_S: Sequence[float]) -> float | None:
    """Paired effect size g_z = J · mean / std of the differences over seeds, unitless.

    mean / std (n − 1) is Cohen's d_z. J = Γ(m/2) / (√(m/2) Γ((m − 1)/2)) with m = n − 1 removes its
    bias for few pairs: 0.56 for n = 3, 0.80 for n = 5, 0.91 for n = 10. Hedges 1981, Journal of
    Educational Statistics 6. The spread is that over seeds alone: seeds that hardly differ give a
    large effect size, however few the test examples.

    None for n < 3 and for equal differences.
    """
    if len(difference_S) < MINIMUM or np.ptp(difference_S) == 0:
        return None
    from scipy.special import gammaln

    half = (len(difference_S) - 1) / 2
    correction = float(np.exp(gammaln(half) - gammaln(half - 0.5)) / np.sqrt(half))
    return correction * float(np.mean(difference_S) / np.std(difference_S, ddof=1))
