"""Methods and metrics that a spec only names, against those that it has."""

from __future__ import annotations

from .job import JobSpec
from .problems import Problem
from .sweep import Sweep
from .task import METRICS


def naming_problems(spec: JobSpec) -> list[Problem]:
    """A baseline, or a published number, of a method or metric that the job does not have."""
    methods = dict.fromkeys(method.kind for method in spec.sweep.methods)
    there = ", ".join(methods)
    problems = []
    baseline = spec.sweep.baseline
    # The default need not be there: a spec that was written out names it in any case.
    default = Sweep.model_fields["baseline"].default
    if baseline is not None and baseline != default and baseline not in methods:
        message = f"{baseline} is no method of this sweep"
        problems.append(Problem("sweep.baseline", message, f"name one of {there}; null for none"))
    known = METRICS[spec.task.kind]
    for place, published in enumerate(spec.reference):
        where = f"reference[{place}]"
        if published.method not in methods:
            message = f"{published.method} is no method of this sweep"
            remedy = f"name one of {there}, or leave the number out"
            problems.append(Problem(f"{where}.method", message, remedy))
        if published.metric not in known:
            message = f"{published.metric} is no metric of {spec.task.kind}"
            remedy = f"allowed are {', '.join(known)}"
            problems.append(Problem(f"{where}.metric", message, remedy))
    return problems
