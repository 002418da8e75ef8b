"""How each metric is printed, and whether higher or lower values are better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

MINUS = "\N{MINUS SIGN}"
ABSENT = "–"


@dataclass(frozen=True)
class MetricStyle:
    """One metric's unit, digits and direction."""

    scale: float = 1.0
    """Factor from the stored value to the printed one."""
    unit: str = ""
    """Unit of a printed value."""
    difference_unit: str = ""
    """Unit of a printed difference: accuracies differ by points, not by percent."""
    format: str = "#.4g"
    """Format of a printed value."""
    difference_format: str = "#.3g"
    """Format of a printed difference."""
    higher_is_better: bool = True
    """Whether the best value is the largest."""

    def number(self, value: float | None) -> str:
        """`value` in the printed unit, without the unit's name; a dash if there is none."""
        return _format(value, self.scale, self.format)

    def spread(self, mean: float | None, std: float | None, n: int | None) -> str:
        """Mean ± standard deviation; for one seed, "(n=1)" instead of a spread."""
        if mean is None or not math.isfinite(mean):
            return ABSENT
        text = self.number(mean)
        if std is not None:
            return f"{text} ± {self._beside(text, std)}"
        return text if n is None else f"{text} (n={n})"

    def interval(self, mean: float, bounds: Sequence[float] | None) -> str:
        """[low, high] around `mean`, with the same number of decimals."""
        if bounds is None:
            return ABSENT
        text = self.number(mean)
        return f"[{', '.join(self._beside(text, bound) for bound in bounds)}]"

    def difference(self, mean: float) -> str:
        """A difference with its sign."""
        return _format(mean, self.scale, f"+{self.difference_format}")

    def difference_bounds(self, mean: float, bounds: Sequence[float]) -> list[str]:
        """The bounds of a difference, with the same number of decimals."""
        return [self._beside(self.difference(mean), bound) for bound in bounds]

    def _beside(self, text: str, value: float) -> str:
        """`value` with as many decimals as its neighbour `text`, so that columns align."""
        decimals = len(text.partition(".")[2])
        return _format(value, self.scale, ".3g" if "e" in text else f".{decimals}f")


PERCENT = MetricStyle(
    scale=100, unit="%", difference_unit="points", format=".2f", difference_format=".2f"
)
COEFFICIENT = MetricStyle(format=".3f", difference_format=".3f")
PLAIN = MetricStyle()
LOWER_IS_BETTER = MetricStyle(higher_is_better=False)

METRIC_STYLES: dict[str, tuple[str, MetricStyle]] = {
    "accuracy": ("accuracy", PERCENT),
    "f1": ("F1", PERCENT),
    "matthews": ("Matthews correlation", COEFFICIENT),
    "pearson": ("Pearson correlation", COEFFICIENT),
    "spearman": ("Spearman correlation", COEFFICIENT),
    "accuracy_f1": ("mean of accuracy and F1", PERCENT),
    "pearson_spearman": ("mean of Pearson and Spearman correlation", COEFFICIENT),
    "micro_f1": ("micro F1", PERCENT),
    "macro_f1": ("macro F1", PERCENT),
    "subset_accuracy": ("subset accuracy", PERCENT),
    "hamming_loss": ("Hamming loss", replace(PERCENT, higher_is_better=False)),
    "average_precision": ("average precision", PERCENT),
    "rougeL": ("ROUGE-L", PERCENT),
    "rouge1": ("ROUGE-1", PERCENT),
    "rouge2": ("ROUGE-2", PERCENT),
    "bertscore": ("BERTScore F1", PERCENT),
    "nll": ("negative log-likelihood", LOWER_IS_BETTER),
    "mse": ("MSE", LOWER_IS_BETTER),
    "loss": ("loss", LOWER_IS_BETTER),
    "perplexity": ("perplexity", LOWER_IS_BETTER),
}
"""Printed name and style; other metrics are printed unchanged, higher values being better."""


def bare_name(metric: str) -> str:
    """`metric` without its split: accuracy for test/accuracy."""
    return metric.rpartition("/")[2]


def style_of(metric: str) -> MetricStyle:
    """The style of `metric`, with or without its split."""
    return METRIC_STYLES.get(bare_name(metric), ("", PLAIN))[1]


def name_of(metric: str) -> str:
    """`metric` in words, with its split: "test F1"."""
    split, _, bare = metric.rpartition("/")
    printed = METRIC_STYLES[bare][0] if bare in METRIC_STYLES else bare
    return f"{split} {printed}".lstrip().replace("/", " ")


def title_of(metric: str) -> str:
    """`metric` in words, with its unit: "test accuracy (%)"."""
    unit = style_of(metric).unit
    return f"{name_of(metric)} ({unit})" if unit else name_of(metric)


def _format(value: float | None, scale: float, spec: str) -> str:
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value * scale:{spec}}".removesuffix(".").replace("-", MINUS)
