"""Run a job: plan, schedule, and for a search, run one round at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from ..executors import Executor, StepError
from ..plan import Plan, Trial
from ..results import JobFolder
from ..search import refused_text
from ..search.choosing import halving_of, validation_metric, verdicts
from ..search.rung_results import RungResults
from ..store import Holder, Leases, Store
from ..tracking import Tracker
from ..tracking.provenance import current_user
from .attempt import Attempt
from .graph import Graph, Node, step_node, trial_node
from .recorder import Recorder
from .results_json import Outcome
from .scheduler import Scheduler
from .view import View


def run_job(
    plan: Plan,
    spec_yaml: str,
    *,
    executor: Executor,
    store: Store,
    tracker: Tracker,
    view: View,
) -> Outcome:
    """Run the missing steps of a plan, and complete the job's folder and its MLflow runs.

    If a step fails, only the steps that depend on it fail with it.

    Raises:
        SpecError: another process runs this job.
        KeyboardInterrupt: the job was stopped; finished work is kept and recorded.
    """
    folder = JobFolder(store, plan.spec.id)
    holder = Holder(current_user(), socket.gethostname(), os.getpid(), plan.spec.id)
    leases = Leases(store, holder, view.warn)
    with folder.locked(view.warn) as ledger:
        rungs = RungResults(halving_of(plan.spec), ledger, store)
        recorder = Recorder(tracker, plan, spec_yaml, store)
        metrics = executor.metrics(plan.spec.id, current_user())
        attempt = Attempt(plan, folder, store, recorder, view, rungs, metrics)
        folder.write("spec.yaml", spec_yaml)
        folder.write_json("plan.json", plan_json(plan, store))
        folder.record("started", executor=executor.name, trials=len(plan.trials))
        try:
            _Sweep(attempt, executor, leases, pruned_in(ledger)).run()
        except KeyboardInterrupt:
            attempt.end("interrupted")
            raise
        except BaseException:
            attempt.end("failed")
            raise
        finally:
            leases.close()
        attempt.end("failed" if attempt.failed_nodes else "done")
        return attempt.outcome


def plan_json(plan: Plan, store: Store) -> dict[str, object]:
    """The content of `plan.json`: the steps in order, whether each exists, and the trials."""
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
    """The trials that earlier attempts at this job pruned, with their reasons; they stay pruned."""
    return pruned_in(folder.ledger())


def pruned_in(ledger: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The trials whose last event in a ledger is `pruned`. See `pruned_before`."""
    ended = {e["hash"]: e for e in ledger if e["event"] == "trial"}
    return {digest: e["reason"] for digest, e in ended.items() if e["status"] == "pruned"}


class _Sweep:
    """The rounds of one attempt; one round unless the search learns from results."""

    def __init__(
        self, attempt: Attempt, executor: Executor, leases: Leases, pruned: Mapping[str, str]
    ) -> None:
        self._attempt, self._executor = attempt, executor
        self._halving = halving_of(attempt.plan.spec)
        self._graph = Graph(barrier=self._halving is not None)
        self._scheduler = Scheduler(self._graph, executor, attempt.store, leases, attempt)
        self._pruned = pruned

    def run(self) -> None:
        """Run every round."""
        attempt = self._attempt
        if attempt.plan.search is None:
            self._warn_refused()
            self._round()
            return
        # Optuna takes half a second to import, so other jobs do not import it.
        from ..search.rounds import Rounds

        rounds = Rounds(attempt.plan.search)
        metric = validation_metric(attempt.plan.spec, attempt.plan.search.settings.metric)
        while asked := rounds.ask():
            self._grow(rounds.plan())
            self._round()
            metrics = {
                digest: None if record.status == "pruned" else record.metrics
                for digest, record in attempt.outcome.trials.items()
            }
            rounds.tell(verdicts(asked, metrics, metric))
        self._grow(rounds.plan())  # the last points may all have been rejected
        self._warn_refused()

    def _warn_refused(self) -> None:
        """Warn once that sampled points were left out; the results list them."""
        if self._attempt.plan.refused:
            self._attempt.view.warn(refused_text(self._attempt.plan.refused))

    def _grow(self, plan: Plan) -> None:
        self._attempt.grow(plan)
        self._attempt.folder.write_json("plan.json", plan_json(plan, self._attempt.store))

    def _round(self) -> None:
        """Run the steps and trials of the plan that have not ended."""
        attempt = self._attempt
        self._add_steps()
        trials = self._add_trials()
        lost = self._graph.fail_lost()
        for node in lost:
            attempt.failed(node, StepError(node.cause))
        trials = [trial for trial in trials if trial.hash not in {n.step.hash for n in lost}]
        if trials:
            before = [t for t in attempt.plan.trials if t.hash in attempt.outcome.trials]
            scores = attempt.rungs.of(before)
            self._executor.open_sweep(trials, self._scheduler.receive, self._halving, scores)
        self._scheduler.run()
        self._executor.close_sweep()
        for trial in trials:
            if attempt.outcome.trials[trial.hash].status == "pruned":
                attempt.clean_up(trial)

    def _add_steps(self) -> None:
        for step in self._attempt.plan.shared:
            self._add(step_node(step))

    def _add_trials(self) -> list[Trial]:
        """Add the trials that have not ended to the graph; returns those that have to run."""
        attempt, store = self._attempt, self._attempt.store
        running: list[Trial] = []
        reused = 0
        for trial in attempt.plan.trials:
            if trial.hash in attempt.outcome.trials:
                continue
            attempt.find_own_steps(trial)
            node = trial_node(trial)
            if not all(store.has(step) for step in node.steps) and trial.hash in self._pruned:
                attempt.pruned_before(trial, self._pruned[trial.hash])
                continue
            if self._add(node):
                running.append(trial)
            else:
                reused += 1
        attempt.view.sweep_started(len(running), reused, self._executor.concurrent_trials())
        return running

    def _add(self, node: Node) -> bool:
        """Add a node; returns whether it has to run: it is new, and not in the store."""
        if not self._graph.add(node):
            return False
        intact = self._scheduler.repair.before_reuse(node.steps)
        if intact and all(self._attempt.store.has(step) for step in node.steps):
            self._graph.done(node)
            self._attempt.reused(node)
            return False
        return True
