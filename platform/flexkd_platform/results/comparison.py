"""Group trials that differ only in the seed, and compare the groups with a baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from flexkd_core.statistics import Comparison, CrossedMean, Summary, summarise

from ..spec import canonical_json
from ..tracking import Json, TrialRecord, group_key
from .example_scores import ExampleScores, crossed
from .versus import all_corrected, compared, lower_is_better, with_stochastic_order

OF_THE_METHOD = (
    "method",
    "layers",
    "reselect",
    "cache",
    "select.target",
    "distill.teacher_cache",
)
"""Settings that belong to a method: its own, and those of what it reads from the teacher."""

OF_EVERY_TRAINING = ("distill", "rows")
"""Settings that every training depends on, omitted at their default: few labels are not all."""


@dataclass(frozen=True)
class Group:
    """One method with one setting of everything, over its seeds.

    params: the settings that distinguish it from the other groups.
    n, seeds: the number of finished trials, and their seeds.
    pruned, failed: the numbers of trials that were stopped early or failed, and that no other job
        finished. The mean over the remaining trials is biased towards good results, so such a group
        is sorted after all complete ones.
    metrics: name → mean, spread and interval over the seeds, in the metric's own unit. A metric
        that is missing or not finite in one of the trials is left out: the mean of the remaining
        seeds would be biased.
    versus: name → comparison with the baseline over shared seeds, ours minus the baseline,
        corrected for those of all groups; None for the baseline itself, and if no baseline has the
        same settings.
    settings: everything that determines the results except the seed.
    crossed: name → the mean over seeds and test examples, where the outputs are known.
    """

    method: str
    params: Mapping[str, Json]
    n: int
    seeds: tuple[int, ...]
    metrics: Mapping[str, Summary]
    versus: Mapping[str, Comparison] | None
    settings: Mapping[str, Json]
    pruned: int = 0
    failed: int = 0
    crossed: Mapping[str, CrossedMean] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The `group` of its trials."""
        return group_key(self.method, self.settings)

    @property
    def incomplete(self) -> bool:
        """Whether some of its seeds are missing from its mean."""
        return self.pruned + self.failed > 0

    def interval(self, metric: str) -> tuple[float, float] | None:
        """95% interval of a mean: over seeds and examples if these are known, else over seeds.

        None if there is none, or it would have no width.
        """
        known = self.crossed[metric].ci95 if metric in self.crossed else self.metrics[metric].ci95
        return None if known is None or known[0] == known[1] else known


@dataclass
class _Cell:
    """A group being collected. pruned, failed: seeds that ended so and that no job finished."""

    method: str
    settings: Mapping[str, Json]
    params: dict[str, Json] = field(default_factory=dict)
    by_seed: dict[int, TrialRecord] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)

    def values(self, metric: str) -> dict[int, float]:
        """Seed → metric; empty unless every trial has a finite one."""
        found = {seed: t.metrics.get(metric, math.nan) for seed, t in sorted(self.by_seed.items())}
        return found if all(map(math.isfinite, found.values())) else {}


def group_trials(
    trials: Iterable[TrialRecord],
    *,
    baseline: str | None,
    metrics: Sequence[str],
    examples: ExampleScores | None = None,
    stochastic_order: bool = False,
) -> list[Group]:
    """Group finished trials, best first by the mean of the first metric; groups with a pruned or
    failed trial come last.

    Failed and pruned trials are excluded from means. The same trial, or the same seed with the same
    settings, counts once, even if it is read from several jobs or experiments. It counts as
    finished if it finished in one of them.

    A group is compared with the group of the baseline method that has the same settings, except for
    the methods' own. Settings that only one of them depends on (fine-tuning has no teacher) are
    ignored, unless every training depends on them: a missing one then has its default. If there are
    several such groups, the best one is used.

    Args:
        baseline: method to compare with, for example `ft`; None for no comparison.
        metrics: names of metrics in the trials, for example `test/accuracy`; the first one ranks.
        examples: scores of single test examples, whose noise intervals and tests then include.
        stochastic_order: also compute almost stochastic order, for groups of five seeds or more.
    """
    cells = _gather(trials)
    shown = _told_apart(cells)
    baselines = _Baselines([cell for cell in cells if cell.method == baseline], metrics)
    opponents = [baselines.opponent(cell) for cell in cells]
    pairs = zip(cells, opponents, strict=True)
    comparisons = all_corrected([_versus(*pair, metrics, examples) for pair in pairs], metrics)
    if stochastic_order:
        comparisons = [
            None if versus is None or opponent is None else _with_order(versus, cell, opponent)
            for versus, cell, opponent in zip(comparisons, cells, opponents, strict=True)
        ]
    groups = [
        Group(
            method=cell.method,
            params=params,
            n=len(cell.by_seed),
            seeds=tuple(sorted(cell.by_seed)),
            metrics={m: summarise(v.values()) for m in metrics if (v := cell.values(m))},
            versus=versus,
            settings=cell.settings,
            pruned=len(cell.pruned),
            failed=len(cell.failed),
            crossed=_crossed(cell, metrics, examples),
        )
        for cell, params, versus in zip(cells, shown, comparisons, strict=True)
    ]
    return sorted(groups, key=lambda group: _rank(group, metrics))


def to_json(group: Group) -> dict[str, Any]:
    """The group as in `results.json`; `std` and `ci95`, over seeds alone, are null for one seed."""
    return {
        "method": group.method,
        "params": dict(group.params),
        "n": group.n,
        "pruned": group.pruned,
        "failed": group.failed,
        "metrics": {
            name: {
                "mean": summary.mean,
                "std": summary.std,
                "ci95": _pair(summary.ci95),
                "interval": _pair(group.interval(name)),
                **_noise_json(group.crossed.get(name)),
            }
            for name, summary in group.metrics.items()
        },
        "versus": None
        if group.versus is None
        else {name: _comparison_json(found) for name, found in group.versus.items()},
    }


def _comparison_json(found: Comparison) -> dict[str, Any]:
    order = found.stochastic_order
    return {
        "n": found.n,
        "mean": found.mean,
        "std": found.std,
        "ci95": _pair(found.ci95),
        "p_t": found.p_t,
        "p_wilcoxon": found.p_wilcoxon,
        "effect_size": found.effect_size,
        "interval": _pair(found.interval),
        **_noise_json(found.crossed),
        "p": found.p,
        "p_holm": found.p_holm,
        "comparisons": found.comparisons,
        "verdict": found.verdict,
        "p_examples": found.p_examples,
        "examples_test": found.examples_test,
        **({} if order is None else {"stochastic_order": order}),
    }


def _noise_json(crossed_mean: CrossedMean | None) -> dict[str, Any]:
    """What `interval` and `p` include, and the two standard errors where both are known."""
    if crossed_mean is None:
        return {"noise": "seeds"}
    known = asdict(crossed_mean)
    return {
        "noise": "seeds and examples",
        **{name: known[name] for name in ("se_seeds", "se_examples", "examples")},
    }


def _gather(trials: Iterable[TrialRecord]) -> list[_Cell]:
    given = list(trials)
    finished = [trial for trial in given if trial.finished]
    cells: dict[str, _Cell] = {}
    for trial in sorted(finished, key=lambda t: (t.method, t.group, t.seed, t.hash, t.status)):
        cell = cells.setdefault(trial.group, _Cell(trial.method, trial.settings))
        cell.by_seed.setdefault(trial.seed, trial)
        # The params of a trial only have what varies in its job: merge those of all jobs.
        cell.params.update(trial.params)
    for trial in given:
        if trial.status in {"pruned", "failed"} and (known := cells.get(trial.group)):
            (known.pruned if trial.status == "pruned" else known.failed).add(trial.seed)
    for cell in cells.values():
        # Do not count seeds twice: finished ones have priority, then pruned ones.
        cell.pruned -= cell.by_seed.keys()
        cell.failed -= cell.by_seed.keys() | cell.pruned
    return list(cells.values())


def _told_apart(cells: Sequence[_Cell]) -> list[dict[str, Json]]:
    """Each cell's params, with further settings if two cells of a method have the same params."""
    by_method: dict[str, list[_Cell]] = {}
    for cell in cells:
        by_method.setdefault(cell.method, []).append(cell)
    needed = {method: _needed_paths(same) for method, same in by_method.items()}
    return [
        {**cell.params, **{p: v for p, v in cell.settings.items() if p in needed[cell.method]}}
        for cell in cells
    ]


def _needed_paths(cells: Sequence[_Cell]) -> set[str]:
    """Settings that differ between the cells of a method, if their params are not unique."""
    if len({canonical_json(cell.params) for cell in cells}) == len(cells):
        return set()
    values: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for cell in cells:
        counts.update(cell.settings.keys())
        for path, value in cell.settings.items():
            values.setdefault(path, set()).add(canonical_json(value))
    differing = {p for p in values if len(values[p]) > 1 or counts[p] < len(cells)}
    return {p for p in differing if not all(_is_shown(cell, p) for cell in cells)}


def _is_shown(cell: _Cell, path: str) -> bool:
    """Whether the params already have a setting, by its path or its last part, such as `alpha`."""
    end = path.rsplit(".", 1)[-1]
    return any(
        name in cell.params and cell.params[name] == cell.settings.get(path) for name in (path, end)
    )


class _Baselines:
    """The cells of the baseline method, and which of them a cell is compared with.

    Hundreds of cells share few surroundings, and few baselines have a cell's training: each pair
    of surroundings is compared once, and only if the training is the same.
    """

    def __init__(self, cells: Sequence[_Cell], metrics: Sequence[str]) -> None:
        self._ids = {id(cell) for cell in cells}
        self._by_training: dict[Json, list[tuple[_Cell, dict[str, Json]]]] = {}
        self._found: dict[Json, _Cell | None] = {}
        ranked = sorted(
            cells,
            key=lambda o: (bool(o.pruned | o.failed), _badness(o.values(metrics[0]), metrics[0])),
        )
        for cell in ranked:
            settings = _surroundings(cell.settings)
            self._by_training.setdefault(_training(settings), []).append((cell, settings))

    def opponent(self, cell: _Cell) -> _Cell | None:
        """The best baseline with the cell's settings; None for a baseline, or if there is none."""
        if id(cell) in self._ids:
            return None
        settings = _surroundings(cell.settings)
        key = _hashable(settings)
        if key not in self._found:
            candidates = self._by_training.get(_training(settings), [])
            fitting = (other for other, theirs in candidates if _same(settings, theirs))
            self._found[key] = next(fitting, None)
        return self._found[key]


def _training(settings: Mapping[str, Json]) -> Json:
    """The settings that every training depends on, as a key."""
    return _hashable({p: v for p, v in settings.items() if _within(p, OF_EVERY_TRAINING)})


def _hashable(value: Json) -> Json:
    """The value as tuples, equal where the values are: 1 and 1.0 have different JSON."""
    if isinstance(value, Mapping):
        return tuple((key, _hashable(value[key])) for key in sorted(value))
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _same(left: Mapping[str, Json], right: Mapping[str, Json]) -> bool:
    """Whether the surroundings that both have are equal."""
    if any(_within(path, OF_EVERY_TRAINING) for path in left.keys() ^ right.keys()):
        return False
    # `teacher.finetune: null` contradicts `teacher.finetune.epochs: 1`, though no path is shared.
    branches = {
        path[:end]
        for path in left.keys() ^ right.keys()
        for end, letter in enumerate(path)
        if letter == "."
    }
    return all(left[path] == right[path] for path in left.keys() & right.keys()) and not (
        branches & (left.keys() | right.keys())
    )


def _surroundings(settings: Mapping[str, Json]) -> dict[str, Json]:
    return {path: value for path, value in settings.items() if not _within(path, OF_THE_METHOD)}


@lru_cache(maxsize=4096)
def _within(path: str, sections: tuple[str, ...]) -> bool:
    return any(f"{path}.".startswith(f"{name}.") for name in sections)


def _crossed(
    cell: _Cell, metrics: Sequence[str], examples: ExampleScores | None
) -> dict[str, CrossedMean]:
    if examples is None:
        return {}
    trials = [trial for _, trial in sorted(cell.by_seed.items())]
    found = {m: crossed(examples.of(trials, m)) for m in metrics if cell.values(m)}
    return {metric: mean for metric, mean in found.items() if mean is not None}


def _versus(
    cell: _Cell,
    opponent: _Cell | None,
    metrics: Sequence[str],
    examples: ExampleScores | None,
) -> dict[str, Comparison] | None:
    if opponent is None or not cell.by_seed.keys() & opponent.by_seed.keys():
        return None
    return {
        metric: compared(cell.by_seed, opponent.by_seed, metric, examples)
        for metric in metrics
        if cell.values(metric) and opponent.values(metric)
    }


def _with_order(
    versus: Mapping[str, Comparison], cell: _Cell, opponent: _Cell
) -> dict[str, Comparison]:
    return {
        metric: with_stochastic_order(comparison, cell.by_seed, opponent.by_seed, metric)
        for metric, comparison in versus.items()
    }


def _badness(values: Mapping[int, float], metric: str) -> float:
    """The mean, signed so that lower is better; infinity if there is none."""
    if not values:
        return math.inf
    mean = summarise(values.values()).mean
    return mean if lower_is_better(metric) else -mean


def _rank(group: Group, metrics: Sequence[str]) -> tuple[bool, float, str, str, str]:
    badness = math.inf
    if metrics and metrics[0] in group.metrics:
        mean = group.metrics[metrics[0]].mean
        badness = mean if lower_is_better(metrics[0]) else -mean
    # Ties are broken by the group's settings, so that the order is the same on every machine.
    return (
        group.incomplete,
        badness,
        group.method,
        canonical_json(dict(group.params)),
        canonical_json(dict(group.settings)),
    )


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
