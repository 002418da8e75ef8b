"""`flexkd run`: run a job and show its results."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import yaml

from ..cluster import Capacity, resource_problems
from ..data import class_lines
from ..executors import open_executor, stopping_problems
from ..job import (
    Outcome,
    View,
    no_worse_than_teacher,
    pruned_before,
    results_json,
    run_job,
    teacher_json,
)
from ..plan import Plan
from ..results import Group, JobFolder, find_job, leaderboard
from ..search import nothing_left, search_json, winner_json
from ..spec import JobSpec, SpecError, counted
from ..store import Store
from ..tracking import ResilientTracker, open_tracker, params_text, shown_uri
from .common import ON_THIS_MACHINE, checked_plan_and_data, read_request
from .console import out, print_table
from .progress import open_view
from .report import write_report


def run(
    spec_path: Path, overrides: list[str], storage: str, tracking: str, address: str, as_json: bool
) -> int:
    """Run the job; returns the exit code."""
    spec, store, uri, problems = read_request(spec_path, overrides, storage, tracking)
    if address in ON_THIS_MACHINE:
        problems += resource_problems(spec.resources, Capacity.of_machine())
    problems += stopping_problems(spec.sweep.scheduler, address)
    plan, data = checked_plan_and_data(spec, spec_path, overrides, problems)
    assert store is not None, "a storage that cannot be written is a problem"
    folder = JobFolder(store, spec.id)
    signal.signal(signal.SIGTERM, _stop)
    if not as_json:
        # Before a cluster is joined: if Ray kills this process, the folder has its messages.
        trials = f"{'at most ' if plan.search else ''}{counted(plan.most_trials, 'trial')}"
        where = f"job {spec.id}: {trials} in {folder.location}"
        out.print(where, markup=False, soft_wrap=True)
        for facts in data:
            if facts.names:
                out.print(class_lines(facts)[0], markup=False, soft_wrap=True)
    view = open_view(out, quiet=as_json)
    outcome, complete = carry_out(plan, store, uri, address, view, str(spec_path))
    if as_json:
        print(json.dumps(results_json(outcome, store), ensure_ascii=False))
    else:
        show_outcome(outcome, folder, uri)
    if not complete:
        view.warn("tracking is incomplete; the same command records what is missing")
    return 0 if outcome.status == "done" else 1


def carry_out(
    plan: Plan, store: Store, uri: str, address: str, view: View, source: str = ""
) -> tuple[Outcome, bool]:
    """Run a job whose plan and tracking store have been checked, and write its report.

    Args:
        uri: of the tracking store.
        address: of Ray, as in the command.
        source: what messages call the spec.

    Returns:
        How the job ended, and whether tracking is complete.

    Raises:
        SpecError: the cluster cannot run the job, or another process runs it.
    """
    spec, folder = plan.spec, JobFolder(store, plan.spec.id)
    log = folder.local("ray.log")
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    # Starting or joining Ray takes seconds; do not do it if there is nothing to run.
    done = nothing_left(plan, store, pruned_before(folder))
    tracker = None
    executor = open_executor("none" if done else address, store, spec.resources, log)
    try:
        # The resources of a cluster are only known after joining it; a finished job needs none.
        if not done and (found := executor.problems()):
            raise SpecError(found, source)
        artifacts = store.uri_of("mlartifacts") if uri.startswith("sqlite:") else None
        tracker = open_tracker(
            uri,
            spec.experiment,
            artifact_location=artifacts,
            log_students=spec.tracking.log_students,
            on_trouble=view.warn,
        )
        text = spec_text(spec)
        outcome = run_job(plan, text, executor=executor, store=store, tracker=tracker, view=view)
        report = write_report(find_job(store, spec.id), spec)
        tracker.log_job_files({"report/index.html": report})
    finally:
        if tracker is not None:
            tracker.close()
        executor.close()
    return outcome, not isinstance(tracker, ResilientTracker) or tracker.complete


def spec_text(spec: JobSpec) -> str:
    """The spec with all defaults filled in, as YAML that can be loaded again."""
    return yaml.safe_dump(spec.to_json(), sort_keys=False, allow_unicode=True)


def show_outcome(outcome: Outcome, folder: JobFolder, uri: str) -> None:
    """Print the leaderboard, the failures, and the locations of the report and of MLflow."""
    spec = outcome.plan.spec
    groups = outcome.groups(folder.store)
    if groups:
        out.print()
        # One metric fits a terminal; the report and `flexkd compare` show all of them.
        ranking = outcome.metric_names[:1]
        print_table(leaderboard(groups, metrics=ranking, reference=spec.reference))
    _show_winner(outcome)
    _show_teacher(outcome, groups, folder)
    _show_chosen(outcome)
    for record in outcome.records:
        if record.status == "failed":
            out.print(f"failed: {record.label}: {record.reason}", markup=False, soft_wrap=True)
    where = folder.place("report/index.html")
    out.print(f"\n{outcome.status} in {outcome.seconds:.1f} s", markup=False)
    out.print(f"report:  {where}", markup=False, soft_wrap=True)
    for line in tracking_lines(outcome, uri):
        out.print(line, markup=False, soft_wrap=True)


def tracking_lines(outcome: Outcome, uri: str) -> list[str]:
    """The page of MLflow's UI that shows the runs; of a database, also the command that serves it.

    uri: of the tracking store.
    """
    lines: list[str] = []
    if uri == "none":
        return lines
    if not uri.startswith("http"):
        # In a virtual environment that is not activated, `mlflow` alone would not be found.
        mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
        lines.append(f"{mlflow} ui --backend-store-uri {shlex.quote(shown_uri(uri))}")
    if outcome.tracked is not None:
        lines.append(outcome.tracked.runs_page)
    elif uri.startswith("http"):
        lines.append(f"{shown_uri(uri)}, experiment {outcome.plan.spec.experiment}")
    return [f"{'MLflow:' if line is lines[0] else '':8} {line}" for line in lines]


def _show_winner(outcome: Outcome) -> None:
    """Print the group that validation chose."""
    found = winner_json(outcome.plan, outcome.records).get("winner")
    if found is not None:
        name = " ".join(filter(None, [found["method"], params_text(found["params"], ", ")]))
        by = f"{found['chosen_by']} {found['mean']:.4f} over {found['n']} seeds"
        out.print(f"best on validation: {name} ({by})", markup=False, soft_wrap=True)


def _show_teacher(outcome: Outcome, groups: Sequence[Group], folder: JobFolder) -> None:
    """Warn if the teacher is not better than its students."""
    found = no_worse_than_teacher(outcome, groups, folder.store)
    if found:
        name = outcome.metric_names[0]
        value = teacher_json(outcome.plan, folder.store)["metrics"][name]
        best = " ".join(filter(None, [found[0].method, params_text(found[0].params, ", ")]))
        out.print(
            f"warning: the teacher ({name} {value:.4f}) is not better than {len(found)} of "
            f"{len(groups)} groups of students, such as {best} "
            f"({found[0].metrics[name].mean:.4f}); train it longer, or use a stronger one",
            markup=False,
            soft_wrap=True,
        )


def _show_chosen(outcome: Outcome) -> None:
    """Print the best points of a search on validation, and the number of pruned trials."""
    search = search_json(outcome.plan, outcome.records).get("search", {})
    for best in search.get("best", []):
        (mean,) = (found["mean"] for found in best["metrics"].values())
        text = params_text(best["params"], ", ")
        out.print(f"best {best['method']} on {search['metric']} ({mean:.4f}): {text}", markup=False)
    pruned = sum(record.status == "pruned" for record in outcome.records)
    if pruned:
        out.print(
            f"{pruned} of {counted(len(outcome.records), 'trial')} pruned, excluded from means",
            markup=False,
        )


def _stop(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl-C: the job is recorded as interrupted and finished work is kept."""
    raise KeyboardInterrupt
