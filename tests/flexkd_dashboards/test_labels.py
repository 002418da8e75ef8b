"""Numbers and names as they are printed."""

from __future__ import annotations

from typing import Any

import pytest

from flexkd_dashboards.labels import duration, figure_text, p_text, series_labels, setup_labels
from flexkd_dashboards.metric_styles import METRIC_STYLES, name_of, style_of, title_of
from flexkd_platform.results.comparison import lower_is_better
from flexkd_platform.results.tables import PERCENT
from flexkd_platform.spec import TASK_KINDS


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("test/accuracy", "91.23 ± 0.46"),
        ("test/pearson", "0.912 ± 0.005"),
        ("test/mse", "0.9123 ± 0.0046"),
        ("test/rouge_l", "0.9123 ± 0.0046"),
        ("test/accuracy_f1", "91.23 ± 0.46"),
        ("vicuna/rougeL", "91.23 ± 0.46"),
        ("test/rouge1", "91.23 ± 0.46"),
        ("test/rouge2", "91.23 ± 0.46"),
        ("test/bertscore", "91.23 ± 0.46"),
        ("test/pearson_spearman", "0.912 ± 0.005"),
        ("test/nll", "0.9123 ± 0.0046"),
    ],
)
def test_spread(metric: str, expected: str) -> None:
    assert style_of(metric).spread(0.9123, 0.0046, 3) == expected


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [(1234.5, 20.1, "1234 ± 20"), (1.2e-7, 3e-9, "1.200e−07 ± 3e−09"), (0.0, 0.0, "0.000 ± 0.000")],
)
def test_spread_of_unusual_size(mean: float, std: float, expected: str) -> None:
    assert style_of("test/mse").spread(mean, std, 3) == expected


def test_one_seed_says_so() -> None:
    assert style_of("test/accuracy").spread(0.9123, None, 1) == "91.23 (n=1)"


def test_difference_and_its_bounds_have_the_same_decimals() -> None:
    style = style_of("test/mse")
    assert style.difference(-0.000898) == "−0.000898"
    assert style.difference_bounds(-0.000898, (-0.0064, 0.0082)) == ["−0.006400", "0.008200"]


def test_absent_numbers_are_dashes() -> None:
    style = style_of("test/accuracy")
    assert style.number(None) == style.number(float("nan")) == style.interval(0.5, None) == "–"


def test_metrics_in_words() -> None:
    assert name_of("test/mse") == "test MSE"
    assert name_of("bleu") == "bleu"
    assert title_of("validation/f1") == "validation F1 (%)"


METRICS_OF_TASKS = sorted({metric for kind in TASK_KINDS.values() for metric in kind.metrics})


@pytest.mark.parametrize("metric", METRICS_OF_TASKS)
def test_every_metric_is_printed_as_on_the_terminal(metric: str) -> None:
    """The page and the leaderboard agree on percent and on which way is better."""
    assert metric in METRIC_STYLES
    name = f"test/{metric}"
    assert (style_of(name).unit == "%") == (metric in PERCENT)
    assert style_of(name).higher_is_better != lower_is_better(name)
    assert title_of(name).endswith("(%)") == (metric in PERCENT)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "–"), (0.04, "0.0 s"), (59.9, "59.9 s"), (734.2, "12 min 14 s"), (7384, "2 h 03 min")],
)
def test_duration(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0004, "p < 0.001"), (0.012, "p = 0.012"), (0.4321, "p = 0.43"), (None, "no p-value")],
)
def test_p(p: float | None, expected: str) -> None:
    assert p_text(p).replace("\N{NO-BREAK SPACE}", " ") == expected


def labels_of(*setups: tuple[str, dict[str, Any]]) -> list[str]:
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in setup_labels(setups).values()]


def test_labels_hold_alpha_and_what_varies() -> None:
    assert labels_of(
        ("ft", {"distill.epochs": 2}),
        ("flexkd", {"alpha": 0.5, "distill.epochs": 2}),
        ("flexkd", {"alpha": 0.5, "distill.epochs": 4}),
    ) == ["ft", "flexkd, α = 0.5, epochs = 2", "flexkd, α = 0.5, epochs = 4"]


def test_settings_that_end_alike_keep_their_path() -> None:
    assert labels_of(
        ("kd", {"distill.learning_rate": 1e-3, "teacher.learning_rate": 1e-5}),
        ("kd", {"distill.learning_rate": 3e-4, "teacher.learning_rate": 1e-5}),
    ) == ["kd, distill.learning_rate = 0.001", "kd, distill.learning_rate = 0.0003"]


def test_settings_of_one_line_share_its_label() -> None:
    setups = [("cka", {"alpha": 0.5}), ("cka", {"alpha": 1.0})]
    assert set(series_labels(setups).values()) == {"cka"}


def test_figure_text_is_not_markup() -> None:
    assert figure_text("<b>%{x}&") == "&lt;b&gt;%&#123;x}&amp;"
