"""One attempt at a job: records events in the ledger, the results and the tracker."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from typing import Any

from ..executors import Advanced, JobMetrics, StepError
from ..plan import DatasetConfig, Plan, Step, Trial, with_config
from ..results import JobFolder
from ..search.rung_results import RungResults
from ..spec import FEWEST_ROWS, counted
from ..store import Holder, Store
from ..tracking import TrialRecord
from ..tracking.provenance import current_user
from .graph import Node
from .recorder import Recorder
from .results_json import JobState, Outcome, StepOutcome, StepStatus, results_json
from .view import View

SKIPPED_BATCHES = "train/skipped_batches"
"""The metric of a trial that counts batches with too few rows for its feature loss."""


class Attempt:
    """The scheduler's listener; also holds the current state of the attempt."""

    def __init__(
        self,
        plan: Plan,
        folder: JobFolder,
        store: Store,
        recorder: Recorder,
        view: View,
        rungs: RungResults,
        metrics: JobMetrics,
    ) -> None:
        self.folder, self.store, self.recorder, self.view = folder, store, recorder, view
        self.rungs, self.metrics = rungs, metrics
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.outcome = Outcome(plan, user=current_user(), began=now)
        self.failed_nodes = 0
        self._began = time.perf_counter()
        self._started: dict[str, float] = {}
        self._reused: set[str] = set()
        self._warned_of_skipped = False

    @property
    def plan(self) -> Plan:
        """The plan, which grows while a search samples more points."""
        return self.outcome.plan

    def grow(self, plan: Plan) -> None:
        """Continue with a plan that has more trials."""
        self.outcome.plan = self.recorder.plan = plan

    # --- the scheduler's listener --------------------------------------------------------------

    def started(self, nodes: Sequence[Node], chunks: int | None) -> None:
        """A worker has started the nodes."""
        first = nodes[0]
        if first.trial is not None:
            self._open_tracking()
            self.folder.record("trial started", hash=first.trial.hash)
            self.recorder.trial_started(first.trial)
            self.metrics.trial(first.trial.hash, "running")
            self.view.trial_started(first.trial)
            return
        for node in nodes:
            self._started[node.step.hash] = time.perf_counter()
            self.folder.record("step started", kind=node.step.kind, hash=node.step.hash)
        self.view.step_started(first.step, label_of(nodes), chunks)

    def advanced(self, nodes: Sequence[Node], event: Advanced) -> None:
        """A trial's training, a step or a pass has made progress."""
        trial, progress = nodes[0].trial, event.progress
        last, examples = progress[-1], sum(each.examples for each in progress)
        self.metrics.advanced(nodes[0].step.kind, progress)
        if trial is None:
            self.view.step_progressed(nodes[0].step, last.done, last.total, examples)
            return
        self.rungs.add(trial, progress)
        self.recorder.trial_progressed(trial, progress)
        self.view.trial_progressed(trial, last.done, last.total, examples)

    def waiting(self, node: Node, holder: Holder) -> None:
        """Another job is running the node."""
        who = {"user": holder.user, "host": holder.host, "pid": holder.pid, "job": holder.job}
        self.folder.record("waiting", kind=node.step.kind, hash=node.step.hash, holder=who)
        if node.trial is None:
            self.view.step_waiting(node.step.config.kind.label, holder)
        else:
            self.view.trial_waiting(node.trial, holder)

    def reused(self, node: Node) -> None:
        """The node's artifacts were in the store."""
        if node.trial is None:
            seconds = self.store.manifest(node.step).seconds
            self._step_ended(node.step, "reused", seconds)
        else:
            self._reused |= {step.hash for step in node.steps}
            self._trial_ended(node.trial, "reused", "", shown=False)

    def done(self, node: Node) -> None:
        """The node has run."""
        if node.trial is None:
            self._step_ended(node.step, "ran", self._seconds(node))
        else:
            self._trial_ended(node.trial, "done", "")

    def failed(self, node: Node, failure: StepError) -> None:
        """The node failed, or something that it needs failed."""
        self.failed_nodes += 1
        self.metrics.failed(failure.detail)
        if node.trial is None:
            self._step_ended(node.step, "failed", self._seconds(node), failure)
        else:
            self._trial_ended(node.trial, "failed", str(failure), failure.detail)

    def pruned(self, node: Node, reason: str) -> None:
        """The trial was stopped early, unless it finished before it could be stopped."""
        assert node.trial is not None, "only trials are pruned"
        done = all(self.store.has(step) for step in node.steps)
        self._trial_ended(node.trial, "done" if done else "pruned", "" if done else reason)

    def damaged(self, step: Step, reasons: Sequence[str], place: str) -> None:
        """An artifact was damaged; its step runs again."""
        self._reused.discard(step.hash)
        kind, digest = step.kind, step.hash
        self.folder.record("damaged", kind=kind, hash=digest, reasons=list(reasons), place=place)
        self.view.warn(
            f"{step.config.kind.label} {step.hash[:12]} is damaged: {'; '.join(reasons)}; it is "
            f"set aside in {self.store.uri_of(place)} and runs again"
        )

    # --- trials that do not run ----------------------------------------------------------------

    def find_own_steps(self, trial: Trial) -> None:
        """Remember which of the trial's steps were published before this attempt."""
        own = (trial.distill, trial.evaluate)
        self._reused |= {step.hash for step in own if self.store.has(step)}

    def pruned_before(self, trial: Trial, reason: str) -> None:
        """An earlier attempt pruned the trial; it stays pruned."""
        self._trial_ended(trial, "pruned", reason, shown=False)
        self.clean_up(trial)

    def clean_up(self, trial: Trial) -> None:
        """Delete the partial artifacts of a pruned trial, once nothing writes to them any more.

        The workers of a trial continue to train while it is being stopped. A trial that finished
        meanwhile is done, as it would be if this job ran again.
        """
        if all(self.store.has(step) for step in (trial.distill, trial.evaluate)):
            self._trial_ended(trial, "done", "", shown=False)
        else:
            self.store.drop_parts(trial.distill)

    # --- recording -----------------------------------------------------------------------------

    def _seconds(self, node: Node) -> float:
        started = self._started.get(node.step.hash)
        return 0.0 if started is None else time.perf_counter() - started

    def _step_ended(
        self, step: Step, status: StepStatus, seconds: float, failure: StepError | None = None
    ) -> None:
        reason = str(failure) if failure else ""
        self.metrics.step(step.hash, step.kind, status, seconds)
        self.outcome.steps[step.hash] = StepOutcome(step, status, seconds, reason)
        event: dict[str, Any] = {"kind": step.kind, "hash": step.hash, "status": status}
        event["seconds"] = seconds
        if failure:
            event |= {"reason": reason, "traceback": failure.detail}
        self.folder.record("step", later=status == "reused", **event)
        note = reason or self._summary_line(step)
        self.view.step_ended(step, step.config.kind.label, status, seconds, note)
        if step.kind == "dataset" and self._datasets_ended():
            self._open_tracking()

    def _summary_line(self, step: Step) -> str:
        summary = self.store.manifest(step).summary
        return step.config.kind.summary_line(summary, self.outcome.metric_names[0])

    def _datasets(self) -> list[Step[DatasetConfig]]:
        return with_config(self.plan.shared, DatasetConfig)

    def _datasets_ended(self) -> bool:
        return all(step.hash in self.outcome.steps for step in self._datasets())

    def _open_tracking(self) -> None:
        """Start the job's run, which names the data; an axis may create several data sets."""
        self.recorder.start([step for step in self._datasets() if self.store.has(step)])
        self.outcome.tracked = self.recorder.tracked

    def _trial_ended(
        self, trial: Trial, status: str, reason: str, detail: str = "", *, shown: bool = True
    ) -> None:
        self._open_tracking()
        record = self.recorder.trial_ended(trial, status, reason)
        self.metrics.trial(trial.hash, status)
        self.outcome.trials[trial.hash] = record
        self._trial_steps(trial, record)
        scores = self.rungs.of([trial]).get(trial.hash) if status == "pruned" else None
        event: dict[str, Any] = {"hash": trial.hash, "status": status}
        event |= {"metrics": dict(record.metrics), "seconds": record.seconds}
        if reason:
            event |= {"reason": reason, "traceback": detail}
        if scores:
            event["scores"] = scores
        self.folder.record("trial", later=status == "reused", **event)
        self._warn_of_skipped(record)
        if shown:
            self.view.trial_ended(trial, status, record.seconds, reason or self._metric(record))
            self._write_results()

    def _warn_of_skipped(self, record: TrialRecord) -> None:
        """Print once that batches had too few rows for the feature loss."""
        skipped = int(record.metrics.get(SKIPPED_BATCHES, 0))
        if skipped and not self._warned_of_skipped:
            self._warned_of_skipped = True
            self.view.warn(
                f"{record.label}: {counted(skipped, 'batch', 'batches')} had fewer than "
                f"{FEWEST_ROWS} rows, which give the feature loss no gradient; see "
                f"{SKIPPED_BATCHES} of every trial"
            )

    def _trial_steps(self, trial: Trial, record: TrialRecord) -> None:
        if record.status == "pruned":
            return  # its steps are neither published nor failed
        for step in (trial.distill, trial.evaluate):
            published = self.store.has(step)
            status: StepStatus = "failed"
            if published:
                status = "reused" if step.hash in self._reused else "ran"
            seconds = self.store.manifest(step).seconds if published else 0.0
            reason = "" if published else record.reason
            self.metrics.step(step.hash, step.kind, status, seconds)
            self.outcome.steps[step.hash] = StepOutcome(step, status, seconds, reason)

    def _metric(self, record: TrialRecord) -> str:
        name = self.outcome.metric_names[0]
        return f"{name} {record.metrics[name]:.4f}"

    def end(self, state: JobState) -> None:
        """Write the results and close the job in the ledger and the tracker."""
        self.outcome.status = state
        self.metrics.ended()
        self._write_results()
        self.folder.record(state, seconds=self.outcome.seconds)
        self.recorder.end(self.outcome, self.folder)

    def _write_results(self) -> None:
        self.outcome.seconds = time.perf_counter() - self._began
        self.folder.write_json("results.json", results_json(self.outcome, self.store))


def label_of(nodes: Sequence[Node]) -> str:
    """A label for the steps of one work item, such as `scoring and teacher cache`."""
    return " and ".join(dict.fromkeys(node.step.config.kind.label for node in nodes))
