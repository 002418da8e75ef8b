"""How much each setting matters for a good result, by PED-ANOVA as Optuna computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..spec import canonical_json
from ..tracking import Json

FEWEST = 4
"""Points below which nothing is computed."""


def setting_importance(
    points: Sequence[Mapping[str, Json]], goodness: Sequence[float]
) -> dict[str, float]:
    """The share of each setting in what distinguishes the best tenth of the points, largest first.

    Watanabe, Bansal & Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
    Arbitrary Subspaces", arXiv:2304.10255, as in `optuna.importance`. It has no randomness.

    Args:
        points: settings of each point, all with the same names.
        goodness: of each point, larger is better.

    Returns:
        Shares that add up to 1; {} with fewer than `FEWEST` points, without a setting that varies,
        or if all points are equally good.
    """
    paths = [p for p in (points[0] if points else {}) if len({_text(x[p]) for x in points}) > 1]
    if len(points) < FEWEST or not paths or len(set(goodness)) < 2:
        return {}
    # Optuna takes half a second to import.
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {path: _space([point[path] for point in points]) for path in paths}
    study = optuna.create_study(direction="maximize")
    for point, value in zip(points, goodness, strict=True):
        params = {path: _as_in(spaces[path], point[path]) for path in paths}
        trial = optuna.trial.create_trial(params=params, distributions=spaces, value=value)
        study.add_trial(trial)
    found = optuna.importance.get_param_importances(study)
    return {path: float(share) for path, share in found.items()}


def _space(values: Sequence[Json]) -> Any:
    """The distribution that a setting's values came from, as far as its values show it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not all(_is_number(value) for value in values):
        return CategoricalDistribution(list(dict.fromkeys(map(_text, values))))
    numbers = [float(value) for value in values]  # type: ignore[arg-type]
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low >= 10)


def _as_in(space: Any, value: Json) -> Any:
    from optuna.distributions import CategoricalDistribution

    return _text(value) if isinstance(space, CategoricalDistribution) else value


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else canonical_json(value)
