"""The progress display of a running job: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..job import View
from ..plan import Step, Trial
from ..spec import counted
from ..store import Holder
from ..tracking import params_text

LINE_SECONDS = 15.0
"""Interval between progress lines if the output is not a terminal."""


def trial_label(trial: Trial) -> str:
    """`flexkd α=0.5 seed 10`."""
    params = params_text(trial.params)
    return " ".join(filter(None, [trial.method, params, f"seed {trial.seed}"]))


def open_view(console: Console, quiet: bool = False) -> View:
    """The view for a console: silent, live on a terminal, or lines."""
    if quiet:
        return SilentView()
    return LiveView(console) if console.is_terminal else LineView(console)


class SilentView:
    """Only prints warnings, on stderr: for `--json`."""

    def step_started(self, step: Step, label: str, total: int | None) -> None:
        """Nothing."""

    def step_progressed(self, step: Step, done: int, total: int, examples: int) -> None:
        """Nothing."""

    def step_ended(self, step: Step, label: str, status: str, seconds: float, note: str) -> None:
        """Nothing."""

    def step_waiting(self, label: str, holder: Holder) -> None:
        """Nothing."""

    def trial_waiting(self, trial: Trial, holder: Holder) -> None:
        """Nothing."""

    def sweep_started(self, trials: int, reused: int, at_a_time: int) -> None:
        """Nothing."""

    def trial_started(self, trial: Trial) -> None:
        """Nothing."""

    def trial_progressed(self, trial: Trial, done: int, total: int, examples: int) -> None:
        """Nothing."""

    def trial_ended(self, trial: Trial, status: str, seconds: float, note: str) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Print a line on stderr."""
        console = Console(stderr=True, highlight=False, emoji=False)
        console.print(f"warning: {message}", markup=False)


class LineView(SilentView):
    """Prints a line when something starts or ends, and regular progress lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: dict[str, _Rate] = {}
        self._sweep = _Rate()
        self._trials = 0
        self._ended = 0
        self._running = False  # whether a trial has started

    def step_started(self, step: Step, label: str, total: int | None) -> None:
        """`teacher …`."""
        self._steps[step.hash] = _Rate(label)
        self._line(f"{label} …")

    def step_progressed(self, step: Step, done: int, total: int, examples: int) -> None:
        """`  teacher: 40/94, 61 examples/s, 28 s left`, every `LINE_SECONDS`."""
        rate = self._steps[step.hash]
        if rate.add(examples) and (done or total):
            text = f"  {rate.label}: {done}/{max(done, total)}, {rate.text}"
            if 0 < done < total:
                text += f", {rate.seconds / done * (total - done):.0f} s left"
            self._line(text)

    def step_ended(self, step: Step, label: str, status: str, seconds: float, note: str) -> None:
        """`teacher: ran in 41.2 s — 22,714,754 parameters`."""
        self._steps.pop(step.hash, None)
        self._line(step_text(label, status, seconds, note))

    def step_waiting(self, label: str, holder: Holder) -> None:
        """`teacher: waiting for ada on node-3 (job quick-1a2b3c4d, pid 71), …`."""
        self._line(waiting_text(label, holder))

    def trial_waiting(self, trial: Trial, holder: Holder) -> None:
        """`ft seed 10: waiting for …`."""
        self._line(waiting_text(trial_label(trial), holder))

    def sweep_started(self, trials: int, reused: int, at_a_time: int) -> None:
        """`sweep: 24 trials to run, 2 at a time`."""
        self._trials, self._ended, self._running = trials, 0, False
        self._line(sweep_text(trials, reused, at_a_time))

    def trial_started(self, trial: Trial) -> None:
        """Nothing; the remaining time is estimated from the start of the first trial."""
        if not self._running:
            self._running, self._sweep = True, _Rate()

    def trial_progressed(self, trial: Trial, done: int, total: int, examples: int) -> None:
        """`  ft seed 10: 40/188, 410 examples/s in all`, every `LINE_SECONDS`."""
        if self._sweep.add(examples) and (done or total):
            of = f"{done}/{max(done, total)}"
            self._line(f"  {trial_label(trial)}: {of}, {self._sweep.text} in all")

    def trial_ended(self, trial: Trial, status: str, seconds: float, note: str) -> None:
        """`[3/24] ft seed 10: done in 6.1 s — test/accuracy 0.7712`, and the remaining time."""
        self._ended += 1
        text = trial_text(trial, status, seconds, note)
        # A trial that another job finished meanwhile is not among those to run.
        self._trials = max(self._trials, self._ended)
        left = self._trials - self._ended
        if self._running and left:
            text += f", {self._sweep.seconds / self._ended * left:.0f} s left"
        self._line(f"[{self._ended}/{self._trials}] {text}")

    def warn(self, message: str) -> None:
        """`warning: …`."""
        self._line(f"warning: {message}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class _Rate:
    """Examples per second of one step or of the whole sweep, reported every `LINE_SECONDS`."""

    def __init__(self, label: str = "") -> None:
        self.label = label
        self._began = self._reported = time.monotonic()
        self._examples = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def text(self) -> str:
        """The mean rate since the start."""
        return f"{self._examples / max(self.seconds, 1e-9):.0f} examples/s"

    def add(self, examples: int) -> bool:
        """Count more examples; returns whether a progress line is due."""
        self._examples += examples
        now = time.monotonic()
        if now - self._reported < LINE_SECONDS:
            return False
        self._reported = now
        return True


class LiveView(SilentView):
    """Shows progress bars, and a line above them for everything that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._examples: dict[str, int] = {}
        self._began: dict[str, float] = {}

    def step_started(self, step: Step, label: str, total: int | None) -> None:
        """Add a bar for the step."""
        self._add(step.hash, label, total)

    def step_progressed(self, step: Step, done: int, total: int, examples: int) -> None:
        """Update the bar."""
        self._move(step.hash, done, total, examples)

    def step_ended(self, step: Step, label: str, status: str, seconds: float, note: str) -> None:
        """Replace the bar by a line."""
        self._remove(step.hash)
        style = {"failed": "red", "reused": "dim"}.get(status, "")
        text = step_text(label, status, seconds, note)
        self._console.print(text, style=style, markup=False)

    def step_waiting(self, label: str, holder: Holder) -> None:
        """Print a line: the other job's progress is unknown."""
        self._console.print(waiting_text(label, holder), style="dim", markup=False)

    def trial_waiting(self, trial: Trial, holder: Holder) -> None:
        """Print a line."""
        self.step_waiting(trial_label(trial), holder)

    def sweep_started(self, trials: int, reused: int, at_a_time: int) -> None:
        """Add a bar for the whole sweep."""
        self._console.print(sweep_text(trials, reused, at_a_time), markup=False)
        if trials:
            self._add("sweep", "sweep", trials)

    def trial_started(self, trial: Trial) -> None:
        """Add a bar for the trial."""
        self._add(trial.hash, trial_label(trial), None)

    def trial_progressed(self, trial: Trial, done: int, total: int, examples: int) -> None:
        """Update the bar."""
        self._move(trial.hash, done, total, examples)

    def trial_ended(self, trial: Trial, status: str, seconds: float, note: str) -> None:
        """Replace the bar by a line."""
        self._remove(trial.hash)
        style = {"failed": "red", "pruned": "dim"}.get(status, "")
        text = trial_text(trial, status, seconds, note)
        self._console.print(text, style=style, markup=False)
        if "sweep" in self._tasks:
            self._progress.advance(self._tasks["sweep"])
            if self._progress.tasks and self._progress.finished:
                self._remove("sweep")

    def warn(self, message: str) -> None:
        """Print a yellow line."""
        self._console.print(f"warning: {message}", style="yellow", markup=False)

    def _add(self, key: str, label: str, total: int | None) -> None:
        if not self._tasks:
            self._progress.start()
        self._began[key], self._examples[key] = time.monotonic(), 0
        self._tasks[key] = self._progress.add_task(label, total=total, rate="")

    def _move(self, key: str, done: int, total: int, examples: int) -> None:
        self._examples[key] += examples
        rate = self._examples[key] / max(1e-9, time.monotonic() - self._began[key])
        self._progress.update(
            self._tasks[key], completed=done, total=total, rate=f"{rate:.0f} examples/s"
        )

    def _remove(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            self._progress.remove_task(task)
        if not self._tasks:
            self._progress.stop()


def step_text(label: str, status: str, seconds: float, note: str) -> str:
    """One line about a shared step that ended."""
    how = {
        "ran": f"ran in {seconds:.1f} s",
        "reused": f"reused (it took {seconds:.1f} s)",
        "failed": "FAILED",
    }[status]
    return f"{label}: {how}" + (f" — {note}" if note else "")


def waiting_text(label: str, holder: Holder) -> str:
    """One line about a step or trial that another job is running."""
    return f"{label}: waiting for {holder}, which runs it; its result will be reused"


def sweep_text(trials: int, reused: int, at_a_time: int) -> str:
    """One line about a sweep that starts."""
    parts = [f"{counted(trials, 'trial')} to run"]
    if reused:
        parts.append(f"{reused} reused")
    if trials:
        parts.append(f"{at_a_time} at a time")
    return "sweep: " + ", ".join(parts)


def trial_text(trial: Trial, status: str, seconds: float, note: str) -> str:
    """One line about a trial that ended."""
    if status == "failed":
        return f"{trial_label(trial)}: FAILED — {note}"
    return f"{trial_label(trial)}: {status} in {seconds:.1f} s — {note}"
