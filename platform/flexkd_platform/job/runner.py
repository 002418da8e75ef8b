"""Run a job: the shared steps, then the sweep; whatever is there already is reused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..executors import Executor, StepError
from ..plan import DatasetConfig, Plan, Step, Trial, with_config
from ..results.job_folder import JobFolder
from ..search import refused_text
from ..search.choosing import halving_of, validation_metric, verdicts
from ..search.rung_results import Compared
from ..steps import ChunkDone, ChunkedPass, passes
from ..store import Store
from ..tracking import Tracker, TrialRecord
from ..training import Progress
from .recorder import Recorder
from .results_json import JobState, Outcome, StepOutcome, StepStatus, results_json
from .view import View

LABELS = {
    "dataset": "data set",
    "base": "untrained teacher",
    "teacher": "teacher",
    "score": "scoring",
    "cache": "teacher cache",
    "select": "selection",
    "generate": "teacher's responses",
    "warm_up": "student's warm-up",
    "evaluate": "teacher's texts",
}
"""What the shared steps are called on the terminal."""

SINGLE: tuple[str, ...] = ("base", "teacher", "evaluate")
"""Kinds of shared steps that run before the passes over the training examples, in this order."""

AFTER_SCORING: tuple[str, ...] = ("select", "warm_up")
"""Kinds of shared steps that run after them."""


def run_job(
    plan: Plan,
    spec_yaml: str,
    *,
    executor: Executor,
    store: Store,
    tracker: Tracker,
    view: View,
) -> Outcome:
    """Do what is missing of a plan and leave the job's folder and its MLflow runs complete.

    A shared step that fails takes along only the trials that need it.

    Raises:
        SpecError: another process runs this job.
        KeyboardInterrupt: asked to stop; what was done is kept and recorded.
    """
    folder = JobFolder(store, plan.spec.id)
    with folder.locked(view.warn):
        run = _Run(plan, folder, executor, store, Recorder(tracker, plan, spec_yaml, store), view)
        folder.write("spec.yaml", spec_yaml)
        folder.write_json("plan.json", plan_json(plan, store))
        folder.record("started", executor=executor.name, trials=len(plan.trials))
        try:
            run.shared_steps()
            run.sweep()
        except KeyboardInterrupt:
            run.end("interrupted")
            raise
        except BaseException:
            run.end("failed")
            raise
        run.end("failed" if run.failures else "done")
        return run.outcome


def plan_json(plan: Plan, store: Store) -> dict[str, object]:
    """The content of `plan.json`: the steps in order, whether they are there, and the trials."""
    return {
        "steps": [
            {
                "kind": step.kind,
                "hash": step.hash,
                "needs": {role: needed.hash for role, needed in step.needs.items()},
                "present": store.has(step),
            }
            for step in plan.steps()
        ],
        "trials": [
            {"hash": t.hash, "method": t.method, "params": dict(t.params), "seed": t.seed}
            for t in plan.trials
        ],
    }


def pruned_before(folder: JobFolder) -> dict[str, str]:
    """The trials that this job has pruned, each with the reason; they stay so."""
    ended = {e["hash"]: e for e in folder.ledger() if e["event"] == "trial"}
    return {digest: e["reason"] for digest, e in ended.items() if e["status"] == "pruned"}


def _rows_text(split: str, profile: Mapping[str, Any]) -> str:
    skipped = f" ({profile['skipped']:,} empty ones skipped)" if profile.get("skipped") else ""
    return f"{split} {profile['rows']:,}{skipped}"


class _Run:
    """The state of one attempt at a job; also what the executor tells about trials."""

    def __init__(
        self,
        plan: Plan,
        folder: JobFolder,
        executor: Executor,
        store: Store,
        recorder: Recorder,
        view: View,
    ) -> None:
        self.plan, self.folder, self.executor = plan, folder, executor
        self.store, self.recorder, self.view = store, recorder, view
        self.outcome = Outcome(plan)
        self.failures: dict[str, str] = {}
        self._began = time.perf_counter()
        self._reused: set[str] = set()
        self._pruned = pruned_before(folder)
        self._compared = Compared(halving_of(plan.spec), folder, store)

    # --- shared steps --------------------------------------------------------------------------

    def shared_steps(self) -> None:
        """Data sets, teachers, scoring passes and selections, in that order; each of them once."""
        for dataset in self._shared("dataset"):
            self._single(dataset)
        datasets = with_config(self.plan.shared, DatasetConfig)
        self.recorder.start([step for step in datasets if self.store.has(step)])
        for kind in SINGLE:
            for step in self._shared(kind):
                self._single(step)
        missing = [step for step in self._shared("score", "cache") if self._ready(step)]
        for request in passes(missing):
            self._pass(request)
        for step in self._shared("generate"):
            if self._ready(step):
                self._pass(*passes([step]))
        for kind in AFTER_SCORING:
            for step in self._shared(kind):
                self._single(step)

    def _shared(self, *kinds: str) -> list[Step]:
        """The steps of some kinds that have not had their turn."""
        return [
            step
            for step in self.plan.shared
            if step.kind in kinds and step.hash not in self.outcome.steps
        ]

    def _single(self, step: Step) -> None:
        if not self._ready(step):
            return
        label = LABELS[step.kind]
        self.view.step_started(step, label, None)
        began = time.perf_counter()

        def tell(progress: Progress) -> None:
            self.view.step_progressed(step, progress.done, progress.total, progress.examples)

        try:
            self.executor.run(step, tell)
        except StepError as failure:
            self._step_ended(step, "failed", time.perf_counter() - began, failure)
        else:
            self._step_ended(step, "ran", time.perf_counter() - began)

    def _pass(self, request: ChunkedPass) -> None:
        """All chunks of one pass over the training examples, and the steps it publishes."""
        first = request.steps[0]
        chunks = request.missing(self.store)
        label = " and ".join(dict.fromkeys(LABELS[step.kind] for step in request.steps))
        self.view.step_started(first, label, len(chunks))
        began = time.perf_counter()
        count = 0

        def tell(done: ChunkDone, first: Step = first, total: int = len(chunks)) -> None:
            nonlocal count
            count += 1
            self.view.step_progressed(first, count, total, done.examples)

        failure = None
        try:
            self.executor.run_pass(request, tell)
        except StepError as caught:
            failure = caught
        seconds = time.perf_counter() - began
        for step in request.steps:
            self._step_ended(step, "failed" if failure else "ran", seconds, failure)

    def _ready(self, step: Step) -> bool:
        """Whether the step has to run: it is missing, and nothing it needs has failed."""
        if self.store.has(step):
            seconds = self.store.manifest(step).seconds
            self._step_ended(step, "reused", seconds)
            return False
        broken = next((s for s in step.upstream() if s.hash in self.failures), None)
        if broken is not None:
            reason = f"the {LABELS[broken.kind]} it needs failed: {self.failures[broken.hash]}"
            self._step_ended(step, "failed", 0.0, StepError(reason))
            return False
        return True

    def _step_ended(
        self, step: Step, status: StepStatus, seconds: float, failure: StepError | None = None
    ) -> None:
        reason = str(failure) if failure else ""
        self.outcome.steps[step.hash] = StepOutcome(step, status, seconds, reason)
        if failure:
            self.failures[step.hash] = reason
        detail = {"reason": reason, "traceback": failure.detail} if failure else {}
        self.folder.record(
            "step", kind=step.kind, hash=step.hash, status=status, seconds=seconds, **detail
        )
        if step.kind in LABELS:
            note = reason or self._note(step)
            self.view.step_ended(step, LABELS[step.kind], status, seconds, note)

    def _note(self, step: Step) -> str:
        """The one thing worth saying about a step that is there."""
        summary = self.store.manifest(step).summary
        if step.kind == "dataset":
            return ", ".join(_rows_text(name, entry) for name, entry in summary.items())
        if step.kind == "teacher":
            found = summary["metrics"]
            wanted = f"{self.plan.spec.evaluate.split}/{self.plan.spec.metrics[0]}"
            metric = wanted if wanted in found else f"{self.plan.spec.evaluate.split}/nll"
            return f"{summary['parameters']:,} parameters, {metric} {found[metric]:.4f}"
        if step.kind in {"evaluate", "warm_up"}:
            return ", ".join(f"{name} {value:.4f}" for name, value in summary["metrics"].items())
        if step.kind == "score":
            geometry = summary.get("geometry", {})
            dimension = geometry.get("effective_dimension")
            shown = "" if dimension is None else f", effective dimension {dimension}"
            return f"{summary['examples']:,} examples, G {summary['digest'][:12]}{shown}"
        if step.kind == "select":
            share = summary["kept_share"]
            return f"{summary['d_student']} of {summary['d_teacher']} units, {share:.0%} of ΣG"
        return ""

    # --- the sweep -----------------------------------------------------------------------------

    def sweep(self) -> None:
        """All trials; of a search those of one round after the other."""
        if self.plan.search is None:
            self._tell_refused()
            self._run_trials()
            return
        # Optuna takes half a second to import, which other jobs need not pay.
        from ..search.rounds import Rounds

        rounds = Rounds(self.plan.search)
        metric = validation_metric(self.plan.spec, self.plan.search.settings.metric)
        while asked := rounds.ask():
            self._grow(rounds.plan())
            self._run_trials()
            metrics = {
                digest: None if record.status == "pruned" else record.metrics
                for digest, record in self.outcome.trials.items()
            }
            rounds.tell(verdicts(asked, metrics, metric))
        self._grow(rounds.plan())  # the last points may all have been refused
        self._tell_refused()

    def _tell_refused(self) -> None:
        """Say once that drawn points were left out; which ones is in the results."""
        if self.plan.refused:
            self.view.warn(refused_text(self.plan.refused))

    def _grow(self, plan: Plan) -> None:
        """Go on with a plan that has more trials, and what they share that is not there yet."""
        self.plan = self.outcome.plan = self.recorder.plan = plan
        self.folder.write_json("plan.json", plan_json(plan, self.store))
        self.shared_steps()

    def _run_trials(self) -> None:
        """The trials that have not had their turn: what is there is recorded, the others run."""
        waiting, reused = [], 0
        for trial in self.plan.trials:
            if trial.hash in self.outcome.trials:
                continue
            own = (trial.distill, trial.evaluate)
            self._reused |= {step.hash for step in own if self.store.has(step)}
            if all(step.hash in self._reused for step in own):
                self._trial_ended(trial, "reused", "", shown=False)
                reused += 1
                continue
            if trial.hash in self._pruned:
                self._trial_ended(trial, "pruned", self._pruned[trial.hash], shown=False)
                self._left_by(trial)  # the last run may have been interrupted before it looked
                continue
            # The evaluation's own needs too: a student whose test is missing is not trained.
            upstream = trial.evaluate.upstream()
            broken = next((s for s in upstream if s.hash in self.failures), None)
            if broken is None:
                waiting.append(trial)
            else:
                reason = f"the {LABELS[broken.kind]} it needs failed: {self.failures[broken.hash]}"
                self._trial_ended(trial, "failed", reason)
        self.view.sweep_started(len(waiting), reused, self.executor.concurrent_trials())
        if waiting:
            before = [trial for trial in self.plan.trials if trial.hash in self.outcome.trials]
            scores = self._compared.of(before)
            self.executor.trials(waiting, self, halving_of(self.plan.spec), scores)
        for trial in waiting:
            if self.outcome.trials[trial.hash].status == "pruned":
                self._left_by(trial)

    def _left_by(self, trial: Trial) -> None:
        """See what a stopped trial has left: only now is nobody there to write anything.

        Several workers train on while it is decided, as does another job that has the same trial.
        Who came to the end has finished, as it would have when this job runs again.
        """
        if self.store.has(trial.distill) and self.store.has(trial.evaluate):
            self._trial_ended(trial, "done", "", shown=False)
        else:
            self.store.drop_parts(trial.distill)

    def started(self, trial: Trial) -> None:
        """The trial has a worker."""
        self.folder.record("trial started", hash=trial.hash)
        self.recorder.trial_started(trial)
        self.view.trial_started(trial)

    def progressed(self, trial: Trial, progress: Sequence[Progress]) -> None:
        """Steps of its training."""
        self._compared.heard(trial, progress)
        self.recorder.trial_progressed(trial, [p.metrics for p in progress if p.metrics])
        last, examples = progress[-1], sum(p.examples for p in progress)
        self.view.trial_progressed(trial, last.done, last.total, examples)

    def ended(self, trial: Trial, failure: StepError | None) -> None:
        """Its artifacts are there, or the reason why not."""
        detail = failure.detail if failure else ""
        self._trial_ended(trial, "failed" if failure else "done", str(failure or ""), detail)

    def pruned(self, trial: Trial, reason: str) -> None:
        """It was stopped in favour of others; unless it was done before it could be."""
        done = self.store.has(trial.distill) and self.store.has(trial.evaluate)
        self._trial_ended(trial, "done" if done else "pruned", "" if done else reason)

    def _trial_ended(
        self, trial: Trial, status: str, reason: str, detail: str = "", *, shown: bool = True
    ) -> None:
        record = self.recorder.trial_ended(trial, status, reason)
        self.outcome.trials[trial.hash] = record
        if status == "failed":
            self.failures[trial.hash] = reason
        self._trial_steps(trial, record)
        scores = self._compared.of([trial]).get(trial.hash) if status == "pruned" else None
        self.folder.record(
            "trial",
            hash=trial.hash,
            status=status,
            metrics=dict(record.metrics),
            seconds=record.seconds,
            **({"reason": reason, "traceback": detail} if reason else {}),
            **({"scores": scores} if scores else {}),
        )
        if shown:
            self.view.trial_ended(trial, status, record.seconds, reason or self._metric(record))
            self._write_results()

    def _trial_steps(self, trial: Trial, record: TrialRecord) -> None:
        if record.status == "pruned":
            return  # its steps neither are there nor failed
        for step in (trial.distill, trial.evaluate):
            there = self.store.has(step)
            status: StepStatus = "failed"
            if there:
                status = "reused" if step.hash in self._reused else "ran"
            seconds = self.store.manifest(step).seconds if there else 0.0
            reason = "" if there else record.reason
            self.outcome.steps[step.hash] = StepOutcome(step, status, seconds, reason)

    def _metric(self, record: TrialRecord) -> str:
        name = self.outcome.metric_names[0]
        return f"{name} {record.metrics[name]:.4f}"

    # --- the end -------------------------------------------------------------------------------

    def end(self, state: JobState) -> None:
        """Write the results and close the job in the ledger and the tracker."""
        self.outcome.status = state
        self._write_results()
        self.folder.record(state, seconds=self.outcome.seconds)
        self.recorder.end(self.outcome, self.folder)

    def _write_results(self) -> None:
        self.outcome.seconds = time.perf_counter() - self._began
        self.folder.write_json("results.json", results_json(self.outcome, self.store))
