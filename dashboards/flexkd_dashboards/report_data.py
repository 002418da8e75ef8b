"""All data that the report shows, as plain Python: the page has no other input.

The typed dictionaries describe `results.json`; nothing here reads files or computes a metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, cast

Setup = tuple[str, Mapping[str, Any]]
"""A method and its settings: what trials of one group share."""


class Job(TypedDict):
    """What ran, and how it ended: `status` is running, done, failed or interrupted.

    began: start of the last attempt, in ISO 8601. Results of earlier versions have neither this nor
    `user` and `tracking`.
    """

    name: str
    spec_hash: str
    status: str
    seconds: float | None
    user: NotRequired[str]
    began: NotRequired[str]
    tracking: NotRequired[Tracking | None]


class Tracking(TypedDict):
    """Where the job is recorded in MLflow."""

    uri: str
    experiment: str
    experiment_id: str
    run_id: str


class Step(TypedDict):
    """One step of the plan; `status` is ran, reused or failed."""

    kind: str
    hash: str
    status: str
    seconds: float | None
    reason: NotRequired[str | None]


class Teacher(TypedDict):
    """The fine-tuned teacher. no_worse: the groups of students that are at least as good."""

    parameters: int | None
    metrics: Mapping[str, float]
    no_worse: NotRequired[Sequence[Mapping[str, Any]]]


class Split(TypedDict):
    """A split or evaluation set: rows that are not used, and examples that another split has too.

    origins: examples of each part of a mixture.
    """

    rows: int
    skipped: NotRequired[int]
    dropped: NotRequired[int]
    also_in_train: NotRequired[int]
    also_in_test: NotRequired[int]
    nearly_in_train: NotRequired[int]
    nearly_in_test: NotRequired[int]
    origins: NotRequired[Mapping[str, int]]


class Trial(TypedDict):
    """One training of a student; `status` is done, reused, failed or pruned."""

    hash: str
    method: str
    params: Mapping[str, Any]
    seed: int
    status: str
    metrics: Mapping[str, float]
    seconds: float | None
    run_id: str | None
    parameters: NotRequired[int | None]
    reason: NotRequired[str | None]


class Spread(TypedDict):
    """A metric over the seeds of a group; no spread with one seed.

    ci95: over seeds alone. interval: also over test examples if `noise` says so; results of earlier
    versions have neither.
    """

    mean: float
    std: float | None
    ci95: Sequence[float] | None
    interval: NotRequired[Sequence[float] | None]
    noise: NotRequired[str]


class Versus(TypedDict):
    """Paired difference to the baseline (group − baseline) over the seeds both have.

    ci95, p_t, p_wilcoxon: over seeds alone, not corrected. The fields from `interval` on are absent
    in results of earlier versions; `docs/statistics.md` describes them.
    """

    n: int
    mean: float
    std: float | None
    ci95: Sequence[float] | None
    p_t: float | None
    p_wilcoxon: float | None
    interval: NotRequired[Sequence[float] | None]
    noise: NotRequired[str]
    effect_size: NotRequired[float | None]
    p_holm: NotRequired[float | None]
    comparisons: NotRequired[int]
    verdict: NotRequired[str]
    p_examples: NotRequired[float | None]
    examples_test: NotRequired[str | None]
    stochastic_order: NotRequired[float]


class Winner(TypedDict):
    """The group with the best mean of `chosen_by` on validation; `reported_by` compares it."""

    method: str
    params: Mapping[str, Any]
    n: int
    chosen_by: str
    mean: float
    std: float | None
    reported_by: str


class Group(TypedDict):
    """The trials that differ only in their seed; `n` does not include `pruned` and `failed`."""

    method: str
    params: Mapping[str, Any]
    n: int
    pruned: NotRequired[int]
    failed: NotRequired[int]
    metrics: Mapping[str, Spread]
    versus: Mapping[str, Versus] | None


class Lengths(TypedDict):
    """Texts of one kind in a split: how many are truncated; tokens of the longest whole one."""

    cut: int
    longest: int


class Texts(TypedDict):
    """How the texts of a job are read.

    lengths: split or set → `rows`, and the `Lengths` of its `prompts`, `responses` or `texts`.
    rouge_tokenizer: set → what ROUGE reads as words.
    """

    lengths: NotRequired[Mapping[str, Mapping[str, Any]]]
    rouge_tokenizer: NotRequired[Mapping[str, str]]


class Chosen(TypedDict):
    """The point of a method's search that is best on the validation split."""

    method: str
    params: Mapping[str, Any]
    n: int
    metrics: Mapping[str, Spread]


class Search(TypedDict):
    """How the points of a sweep were drawn; `metric` is of the validation split.

    refused: drawn points that are not allowed.
    """

    kind: str
    samples: int
    metric: str
    best: Sequence[Chosen]
    refused: NotRequired[Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class TrainingCurve:
    """The training curves of one trial."""

    method: str
    """Method of the trial, as in `results`."""
    params: Mapping[str, Any]
    """Settings of the trial, as in `results`."""
    seed: int
    """Its seed."""
    steps: tuple[int, ...]
    """Optimizer steps, in ascending order."""
    loss: tuple[float, ...]
    """Total training loss at `steps`."""
    validation: Mapping[str, tuple[tuple[int, float], ...]]
    """Metric → (step, value) pairs, steps in ascending order."""
    clipped: float | None = None
    """Share of the steps whose gradient was clipped; None if it was not logged."""

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.loss):
            raise ValueError(
                f"{self.method}, seed {self.seed}: {len(self.steps)} steps but "
                f"{len(self.loss)} losses; give one loss for each step"
            )


@dataclass(frozen=True)
class ImportanceCurve:
    """One selection of teacher units."""

    label: str
    """Name of the selection among the others, such as its layer."""
    importance: tuple[float, ...]
    """G, one value for each of the d_T teacher units, by unit index."""
    units: tuple[int, ...]
    """The d_S selected units in rank order."""
    note: str = ""
    """What is known of its geometry and stability, as a phrase."""

    def __post_init__(self) -> None:
        outside = [unit for unit in self.units if not 0 <= unit < len(self.importance)]
        if outside:
            raise ValueError(
                f"{self.label}: selected units {outside[:5]} are not among the "
                f"{len(self.importance)} units that have an importance"
            )


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of one second moment of a score."""

    label: str
    """Name of the moment among the others."""
    values: tuple[float, ...]
    """Eigenvalues in descending order, one for each unit."""
    dimension: int
    """How many of them hold 95% of their sum."""
    error: float | None = None
    """Half the difference of the dimensions of the two halves of the data."""


@dataclass(frozen=True)
class PublishedResult:
    """A published number to print next to ours."""

    method: str
    """Method of the sweep it belongs to."""
    metric: str
    """Metric without its split, as accuracy."""
    mean: float
    """Mean over seeds, in the metric's own unit (an accuracy is a share of 1)."""
    std: float | None = None
    """Standard deviation over seeds."""
    source: str = ""
    """Where it was published."""


@dataclass(frozen=True)
class ReportData:
    """One job's report."""

    results: Mapping[str, Any]
    """The job's `results.json`, parsed. A failed trial or step may have a `reason`."""
    spec_yaml: str
    """The spec as it ran."""
    metrics: tuple[str, ...]
    """Metrics with their split, as test/accuracy; the first one ranks."""
    baseline: str | None
    """Method that `versus` compares with."""
    curves: tuple[TrainingCurve, ...] = ()
    """One for each trial that kept its curve."""
    importance: tuple[ImportanceCurve, ...] = ()
    """One for each selection; none without Flex-KD."""
    spectra: tuple[Spectrum, ...] = ()
    """Of each score whose moments were kept."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package: version."""
    reference: tuple[PublishedResult, ...] = ()
    """Published numbers."""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("metrics: name at least one metric; the first one ranks")

    @property
    def ranking_metric(self) -> str:
        """The metric that orders the leaderboard."""
        return self.metrics[0]

    @property
    def job(self) -> Job:
        """What ran, and how it ended."""
        return cast(Job, self.results["job"])

    @property
    def steps(self) -> Sequence[Step]:
        """The steps in the order of the plan."""
        return cast(Sequence[Step], self.results["steps"])

    @property
    def splits(self) -> Mapping[str, Split]:
        """The splits and evaluation sets; {} if there is nothing to say of them."""
        return cast("Mapping[str, Split]", self.results.get("data", {}))

    @property
    def datasets(self) -> Mapping[str, Mapping[str, int]]:
        """Name → examples of each split; {} in results of earlier versions."""
        return cast("Mapping[str, Mapping[str, int]]", self.results.get("datasets", {}))

    @property
    def teacher(self) -> Teacher | None:
        """The teacher; None if the job ended before it existed, for which results contain {}."""
        return cast("Teacher | None", self.results["teacher"] or None)

    @property
    def trials(self) -> Sequence[Trial]:
        """Every trial, finished or not."""
        return cast(Sequence[Trial], self.results["trials"])

    @property
    def groups(self) -> Sequence[Group]:
        """Every method and setting with at least one finished trial."""
        return cast(Sequence[Group], self.results["groups"])

    @property
    def winner(self) -> Winner | None:
        """The group that validation chose; None if there is none."""
        return cast("Winner | None", self.results.get("winner"))

    @property
    def search(self) -> Search | None:
        """How points were drawn; None for a grid."""
        return cast("Search | None", self.results.get("search"))

    @property
    def texts(self) -> Texts:
        """How texts are read; {} in results of earlier versions."""
        return cast(Texts, self.results.get("texts", {}))

    @property
    def setups(self) -> list[Setup]:
        """The method and settings of every group, trial and curve; there may be duplicates."""
        return [
            *((group["method"], group["params"]) for group in self.groups),
            *((trial["method"], trial["params"]) for trial in self.trials),
            *((curve.method, curve.params) for curve in self.curves),
        ]
