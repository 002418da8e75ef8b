"""What the students of a job cost beside what they are worth, by group."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifacts import ModelCost, cost_of
from ..spec import canonical_json
from ..store import StoreError
from .query import JobFiles


@dataclass(frozen=True)
class GroupCost:
    """A group of `results.json`, and the medians over its finished trials of what they cost.

    metrics: as `results.json` has them: `mean`, `std`, `interval`, ….
    parameters, weight_bytes, latency_ms, peak_bytes, devices: see `ModelCost`; None or empty where
        no evaluation measured them. Latencies of several devices are not joined: None then.
    seconds: wall time of training and evaluation.
    """

    method: str
    params: Mapping[str, Any]
    n: int
    metrics: Mapping[str, Mapping[str, Any]]
    parameters: int | None
    seconds: float | None
    weight_bytes: int | None = None
    latency_ms: float | None = None
    peak_bytes: int | None = None
    devices: tuple[str, ...] = ()


def group_costs(job: JobFiles) -> list[GroupCost]:
    """The groups of a job in their order, with their costs."""
    trials: dict[str, list[Mapping[str, Any]]] = {}
    for trial in job.results["trials"]:
        if trial["status"] in {"done", "reused"}:
            trials.setdefault(_key(trial), []).append(trial)
    return [_cost(job, group, trials.get(_key(group), [])) for group in job.results["groups"]]


def _key(entry: Mapping[str, Any]) -> str:
    return canonical_json([entry["method"], entry["params"]])


def _cost(
    job: JobFiles, group: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]
) -> GroupCost:
    measured = [cost for trial in trials if (cost := measured_cost(job, trial)) is not None]
    devices = tuple(sorted({cost.device for cost in measured}))
    seconds = [float(trial["seconds"]) for trial in trials if trial["seconds"]]
    sizes = [size for trial in trials if (size := _parameters(job, trial)) is not None]
    peaks = [cost.peak_bytes for cost in measured if cost.peak_bytes is not None]
    return GroupCost(
        method=group["method"],
        params=group["params"],
        n=group["n"],
        metrics=group["metrics"],
        parameters=int(statistics.median(sizes)) if sizes else None,
        seconds=statistics.median(seconds) if seconds else None,
        weight_bytes=_median([cost.weight_bytes for cost in measured]),
        latency_ms=(
            statistics.median(cost.latency_ms for cost in measured) if len(devices) == 1 else None
        ),
        peak_bytes=_median(peaks) if len(devices) == 1 else None,
        devices=devices,
    )


def measured_cost(job: JobFiles, trial: Mapping[str, Any]) -> ModelCost | None:
    """The cost that a trial's evaluation measured; None if it measured none."""
    try:
        return cost_of(job.store.manifest_at("evaluate", trial["evaluation"]).summary)
    except (StoreError, KeyError):
        return None


def _parameters(job: JobFiles, trial: Mapping[str, Any]) -> int | None:
    try:
        return int(job.store.manifest_at("distill", trial["hash"]).summary["parameters"])
    except (StoreError, KeyError):
        return None


def _median(values: Sequence[int]) -> int | None:
    return int(statistics.median(values)) if values else None


def front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """The places that nothing beats: no other one is as good and cheaper, or better and as cheap.

    costs: lower is better. qualities: higher is better. In ascending order of cost.
    """
    order = sorted(range(len(costs)), key=lambda place: (costs[place], -qualities[place]))
    found: list[int] = []
    for place in order:
        best = qualities[found[-1]] if found else float("-inf")
        equal = found and (costs[place], qualities[place]) == (costs[found[-1]], best)
        if qualities[place] > best or equal:
            found.append(place)
    return found
