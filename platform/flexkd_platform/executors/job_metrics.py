"""What monitoring is told of a running job, by any executor; recorded by `ray_metrics.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ..tracking import Progress

Kind = Literal["gauge", "counter"]
TRIAL_STATES = ("running", "done", "reused", "failed", "pruned")
NOT_FINITE = FloatingPointError.__name__
"""In the traceback of a training whose loss is not finite."""


@dataclass(frozen=True)
class Metric:
    """A metric that Prometheus reads; its labels are `flexkd_job`, `user` and `labels`."""

    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()


TRIALS = Metric("flexkd_trials", "gauge", "Trials of a running job by state.", ("state",))
EXAMPLES = Metric(
    "flexkd_examples_total", "counter", "Examples that models have processed.", ("kind",)
)
TOKENS = Metric("flexkd_tokens_total", "counter", "Tokens trained on, without padding.", ("kind",))
STEPS = Metric(
    "flexkd_steps_total",
    "counter",
    "Steps that ended; `reused` ones were in the storage.",
    ("kind", "status"),
)
STEP_SECONDS = Metric(
    "flexkd_step_seconds_total", "counter", "Seconds of the steps that ran.", ("kind",)
)
LOSSES = Metric(
    "flexkd_losses_not_finite_total", "counter", "Trainings that ended with a NaN or infinite loss."
)
METRICS = (TRIALS, EXAMPLES, TOKENS, STEPS, STEP_SECONDS, LOSSES)
"""All metrics. Ray exports each with the prefix `ray_`."""


class Recording(Protocol):
    """Records values of metrics. labels: those of the metric, without job and user."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""

    def add(self, metric: Metric, value: float, **labels: str) -> None:
        """Increase a counter; value > 0."""


class JobMetrics:
    """Turns the events of a job into metrics. recording: None to record nothing."""

    def __init__(self, recording: Recording | None = None) -> None:
        self._recording = recording
        self._trials: dict[str, str] = {}  # hash → state
        self._steps: set[str] = set()  # hashes of those that are counted

    def trial(self, trial: str, state: str) -> None:
        """A trial has started or ended. trial: its hash; state: one of `TRIAL_STATES`."""
        self._trials[trial] = state
        self._record_trials()

    def advanced(self, kind: str, progress: Iterable[Progress]) -> None:
        """A step of a kind has made progress."""
        rows = list(progress)
        self._add(EXAMPLES, sum(each.examples for each in rows), kind=kind)
        self._add(TOKENS, sum(each.tokens for each in rows), kind=kind)

    def step(self, step: str, kind: str, status: str, seconds: float) -> None:
        """A step has ended; counted once. step: its hash; status: ran, reused or failed."""
        if step in self._steps:
            return
        self._steps.add(step)
        self._add(STEPS, 1, kind=kind, status=status)
        if status == "ran":
            self._add(STEP_SECONDS, seconds, kind=kind)

    def failed(self, traceback: str) -> None:
        """A step or trial has failed."""
        if NOT_FINITE in traceback:
            self._add(LOSSES, 1)

    def ended(self) -> None:
        """The job has ended: nothing of it is running."""
        running = [trial for trial, state in self._trials.items() if state == "running"]
        self._trials |= dict.fromkeys(running, "failed")
        self._record_trials()

    def _record_trials(self) -> None:
        if self._recording is None:
            return
        counts: Mapping[str, int] = Counter(self._trials.values())
        for state in TRIAL_STATES:
            self._recording.set(TRIALS, counts.get(state, 0), state=state)

    def _add(self, metric: Metric, value: float, **labels: str) -> None:
        if self._recording is not None and value > 0:
            self._recording.add(metric, value, **labels)
