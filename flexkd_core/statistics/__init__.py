"""Statistics of comparisons over seeds and test examples. See docs/statistics.md.

scipy takes half a second to import, so functions import it when they need it.
"""

from .comparison import Comparison, Verdict, compare, corrected
from .corrections import holm
from .crossed import CrossedMean, crossed_mean, crossed_replicates
from .dominance import almost_stochastic_order, violation_ratio
from .effect import hedges_g
from .examples import bootstrap_p, bootstrap_weights, mcnemar, replicates, sign_flip_test
from .seeds import CONFIDENCE, PairedDifference, Summary, paired_difference, summarise
from .weighted import (
    weighted_f1,
    weighted_matthews,
    weighted_mean,
    weighted_pearson,
    weighted_spearman,
)

__all__ = [
    # over seeds
    "CONFIDENCE",
    "summarise",
    "Summary",
    "paired_difference",
    "PairedDifference",
    "hedges_g",
    # over seeds and test examples
    "crossed_mean",
    "crossed_replicates",
    "CrossedMean",
    # over test examples, for trained models
    "mcnemar",
    "sign_flip_test",
    "bootstrap_weights",
    "replicates",
    "bootstrap_p",
    "weighted_mean",
    "weighted_f1",
    "weighted_matthews",
    "weighted_pearson",
    "weighted_spearman",
    # of several comparisons
    "holm",
    "Comparison",
    "Verdict",
    "compare",
    "corrected",
    # of whole distributions
    "almost_stochastic_order",
    "violation_ratio",
]
