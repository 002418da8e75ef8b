"""`flexkd validate` and `flexkd plan`: check a job and show its plan, without running it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..cluster import Capacity, fitting_trials, resource_problems
from ..data import DataFacts, class_json, class_lines
from ..executors import open_executor, stopping_problems
from ..plan import Plan
from ..search import Search, refused_text
from ..spec import SpecError, counted
from ..store import Store
from .common import ON_THIS_MACHINE, checked_plan_and_data, read_request
from .console import out

FP32_BYTES = 4


def validate(
    spec_path: Path,
    overrides: list[str],
    storage: str,
    tracking: str,
    address: str,
    as_json: bool,
) -> int:
    """Print that a spec is valid, or raise all of its problems; nothing is started."""
    plan, data, _, _ = _examined(spec_path, overrides, storage, tracking, address)
    if as_json:
        numbers = {"id": plan.spec.id, "spec_hash": plan.spec.hash, "trials": plan.most_trials}
        print(json.dumps(numbers | _data_numbers(data)))
    else:
        trials = f"{'at most ' if plan.search else ''}{counted(plan.most_trials, 'trial')}"
        message = f"{spec_path} is valid: {trials}, job {plan.spec.id}"
        out.print(message, markup=False, soft_wrap=True)
        _show_data(data)
        _show_refused(plan)
    return 0


def show_plan(
    spec_path: Path,
    overrides: list[str],
    storage: str,
    tracking: str,
    address: str,
    as_json: bool,
) -> int:
    """Print the steps and trials, whether they are cached, and the resources that they need.

    Without an address, the resources are this machine's; with one, the cluster's.
    """
    plan, data, store, capacity = _examined(spec_path, overrides, storage, tracking, address)
    numbers = plan_numbers(plan, store, capacity, in_turn=address == "none")
    if as_json:
        print(json.dumps(numbers | _data_numbers(data)))
    else:
        show_numbers(plan, numbers)
        _show_data(data)
    return 0


def _data_numbers(data: Sequence[DataFacts]) -> dict[str, Any]:
    """The classes of every data set and their examples; nothing for tasks without classes."""
    found = [numbers for facts in data if (numbers := class_json(facts))]
    return {"data": found} if found else {}


def _show_data(data: Sequence[DataFacts]) -> None:
    for facts in data:
        for line in class_lines(facts):
            out.print(line, markup=False, soft_wrap=True)


def _examined(
    spec_path: Path, overrides: list[str], storage: str, tracking: str, address: str
) -> tuple[Plan, list[DataFacts], Store, Capacity]:
    """The plan of a valid spec, its data, its store, and the resources to run it on.

    Raises:
        SpecError: all problems of the spec, the storage, tracking and the cluster.
    """
    spec, store, _, problems = read_request(spec_path, overrides, storage, tracking)
    capacity = Capacity.of_machine()
    known = address in ON_THIS_MACHINE
    if store is not None and not known:
        try:
            executor = open_executor(address, store, spec.resources)
        except SpecError as error:
            problems += error.problems
        else:
            capacity = executor.capacity()
            executor.close()
            known = True
    if known:  # this machine's resources are irrelevant for a cluster that was not reached
        problems += resource_problems(spec.resources, capacity)
    problems += stopping_problems(spec.sweep.scheduler, address)
    plan, data = checked_plan_and_data(spec, spec_path, overrides, problems)
    assert store is not None, "a storage that cannot be written is a problem"
    return plan, data, store, capacity


def plan_numbers(
    plan: Plan, store: Store, capacity: Capacity, *, in_turn: bool = False
) -> dict[str, Any]:
    """The plan as JSON: steps and trials, whether they are cached, peak resources, sizes.

    For a search with Optuna, the trials are those of its first round. `in_turn`: without Ray, where
    one worker scores and one trains, regardless of the spec.
    """
    resources = plan.spec.resources
    concurrent = 1 if in_turn else fitting_trials(resources, capacity)
    workers = 1 if in_turn else concurrent * resources.least_workers
    scorers = 1 if in_turn else resources.score_workers
    cpus = max(scorers, resources.teacher_cpus, workers * resources.trial_cpus)
    teacher_gpus = scorers * resources.gpus_of_teacher
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
        **({"search": _search_numbers(plan.search)} if plan.search else {}),
        **({"refused": [one.to_json() for one in plan.refused]} if plan.refused else {}),
        "nodes": [{"cpus": node.cpus, "gpus": node.gpus} for node in capacity.nodes],
        "concurrent_trials": concurrent,
        "peak": {"cpus": cpus, "gpus": max(teacher_gpus, workers * resources.trial_gpus)},
        "teacher_cache_bytes": plan.cache_numbers * FP32_BYTES,
    }


def _search_numbers(search: Search) -> dict[str, Any]:
    return {
        "points": search.points,
        "seeds": len(search.spec.sweep.seeds),
        "trials_at_most": search.most_trials,
        "spaces": [
            {
                "method": search.spec.sweep.methods[place].kind,
                "space": {path: drawn.to_json() for path, drawn in space.items()},
            }
            for place, space in search.spaces.items()
        ],
    }


def show_numbers(plan: Plan, numbers: dict[str, Any]) -> None:
    """Print the numbers as tables and text."""
    steps = Table("step", "hash", "cached", title=None)
    for step in numbers["steps"]:
        steps.add_row(step["kind"], step["hash"][:12], "yes" if step["present"] else "no")
    out.print(f"job {plan.spec.id}", markup=False)
    out.print(steps)
    trials = Table("method", "params", "seeds", "cached")
    groups: dict[tuple[str, str], Counter[bool]] = {}
    for trial in numbers["trials"]:
        params = ", ".join(f"{name}={value}" for name, value in trial["params"].items())
        groups.setdefault((trial["method"], params), Counter())[trial["present"]] += 1
    for (method, params), counts in groups.items():
        there = f"{counts[True]} of {counts.total()}"
        trials.add_row(method, Text(params), str(counts.total()), there)
    out.print(trials)
    if "search" in numbers:
        _show_search(numbers["search"])
    _show_refused(plan)
    nodes = Counter((node["cpus"], node["gpus"]) for node in numbers["nodes"])
    shown = ", ".join(f"{n} × {cpus:g} CPUs, {gpus:g} GPUs" for (cpus, gpus), n in nodes.items())
    missing = sum(not trial["present"] for trial in numbers["trials"])
    peak = numbers["peak"]
    size = numbers["teacher_cache_bytes"] / 2**20
    most = "at most " if plan.teacher_evaluations else ""
    out.print(
        f"nodes: {shown}\n"
        f"{missing} of {counted(len(numbers['trials']), 'trial')} to run, "
        f"{numbers['concurrent_trials']} at a time; peak {peak['cpus']} CPUs, "
        f"{peak['gpus']:g} GPUs; teacher cache {most}{size:.1f} MiB",
        markup=False,
        soft_wrap=True,
    )


def _show_refused(plan: Plan) -> None:
    if plan.refused:
        out.print(refused_text(plan.refused), markup=False, soft_wrap=True)


def _show_search(search: dict[str, Any]) -> None:
    for each in search["spaces"]:
        drawn = ", ".join(
            f"{path.rpartition('].')[2]} in {value}"
            for path, one in each["space"].items()
            for value in [" ".join(f"{name} {values}" for name, values in one.items())]
        )
        out.print(f"searched: {each['method']}, {drawn}", markup=False, soft_wrap=True)
    out.print(
        f"{counted(search['points'], 'point')} × {counted(search['seeds'], 'seed')}, "
        "of which the first round is shown; "
        f"{counted(search['trials_at_most'], 'trial')} at most",
        markup=False,
        soft_wrap=True,
    )
