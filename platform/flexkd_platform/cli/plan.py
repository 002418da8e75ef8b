"""`flexkd validate` and `flexkd plan`: what a job would do, before it does anything."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from ..executors import Capacity, fitting_trials, open_executor, resource_problems
from ..plan import Plan
from ..store import Store
from .common import (
    ON_THIS_MACHINE,
    checked_plan,
    out,
    reachable,
    reachable_store,
    read_spec,
)

FP32_BYTES = 4


def validate(
    spec_path: Path, overrides: list[str], storage: str, tracking: str, as_json: bool
) -> int:
    """Say that nothing is wrong, or raise all that is; nothing is started."""
    _, _, problems = reachable(storage, tracking)
    spec = read_spec(spec_path, overrides, problems)
    problems += resource_problems(spec.resources, Capacity.of_machine())
    plan = checked_plan(spec, spec_path, overrides, problems)
    if as_json:
        print(json.dumps({"id": spec.id, "spec_hash": spec.hash, "trials": len(plan.trials)}))
    else:
        out.print(f"{spec_path}: nothing wrong, {len(plan.trials)} trials, job {spec.id}")
    return 0


def show_plan(
    spec_path: Path, overrides: list[str], storage: str, address: str, as_json: bool
) -> int:
    """Show the steps with what is there, the trials, and what they take.

    Without an address, the resources are this machine's; with one, the cluster's.
    """
    store, problems = reachable_store(storage)
    spec = read_spec(spec_path, overrides, problems)
    capacity = Capacity.of_machine()
    if store is not None and address not in ON_THIS_MACHINE:
        executor = open_executor(address, store, spec.resources)
        capacity = executor.capacity()
        executor.close()
    problems = [*problems, *resource_problems(spec.resources, capacity)]
    plan = checked_plan(spec, spec_path, overrides, problems)
    assert store is not None, "a storage that cannot be written is a problem"
    numbers = plan_numbers(plan, store, fitting_trials(spec.resources, capacity))
    if as_json:
        print(json.dumps(numbers))
    else:
        _show(plan, numbers)
    return 0


def plan_numbers(plan: Plan, store: Store, concurrent: int) -> dict[str, Any]:
    """The plan as JSON: steps and trials with whether they are there, peak resources, sizes."""
    resources = plan.spec.resources
    cpus = max(
        resources.score_workers,
        resources.teacher_cpus,
        concurrent * resources.least_workers * resources.trial_cpus,
    )
    return {
        "id": plan.spec.id,
        "spec_hash": plan.spec.hash,
        "steps": [
            {"kind": step.kind, "hash": step.hash, "present": store.has(step)}
            for step in plan.shared
        ],
        "trials": [
            {
                "hash": trial.hash,
                "method": trial.method,
                "params": dict(trial.params),
                "seed": trial.seed,
                "present": store.has(trial.distill) and store.has(trial.evaluate),
            }
            for trial in plan.trials
        ],
        "concurrent_trials": concurrent,
        "peak": {
            "cpus": cpus,
            "gpus": concurrent * resources.least_workers * resources.trial_gpus,
        },
        "teacher_cache_bytes": plan.cache_numbers * FP32_BYTES,
    }


def _show(plan: Plan, numbers: dict[str, Any]) -> None:
    steps = Table("step", "hash", "there", title=None)
    for step in numbers["steps"]:
        steps.add_row(step["kind"], step["hash"][:12], "yes" if step["present"] else "no")
    out.print(f"job {plan.spec.id}", markup=False)
    out.print(steps)
    trials = Table("method", "params", "seeds", "there")
    groups: dict[tuple[str, str], Counter[bool]] = {}
    for trial in numbers["trials"]:
        params = ", ".join(f"{name}={value}" for name, value in trial["params"].items())
        groups.setdefault((trial["method"], params), Counter())[trial["present"]] += 1
    for (method, params), counts in groups.items():
        trials.add_row(method, params, str(counts.total()), f"{counts[True]} of {counts.total()}")
    out.print(trials)
    missing = sum(not trial["present"] for trial in numbers["trials"])
    peak = numbers["peak"]
    size = numbers["teacher_cache_bytes"] / 2**20
    most = "at most " if plan.teacher_evaluations else ""
    out.print(
        f"{missing} of {len(numbers['trials'])} trials to run, "
        f"{numbers['concurrent_trials']} at a time; peak {peak['cpus']} CPUs, "
        f"{peak['gpus']:g} GPUs; teacher cache {most}{size:.1f} MiB",
        markup=False,
        soft_wrap=True,
    )
