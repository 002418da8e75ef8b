"""Check the methods and metrics that a spec refers to by name.

Published numbers of methods that are not in the sweep are allowed: the report lists them.
"""

from __future__ import annotations

from .job import JobSpec
from .problems import Problem
from .sweep import Sweep
from .task import TASK_KINDS


def naming_problems(spec: JobSpec) -> list[Problem]:
    """Problems of a baseline that is not in the sweep, and of metrics of another task."""
    methods = dict.fromkeys(method.kind for method in spec.sweep.methods)
    problems = []
    baseline = spec.sweep.baseline
    # The default may be missing from the sweep: a serialized spec always names it.
    default = Sweep.model_fields["baseline"].default
    if baseline is not None and baseline != default and baseline not in methods:
        message = f"{baseline} is not a method of this sweep"
        remedy = f"name one of {', '.join(methods)}; null for none"
        problems.append(Problem("sweep.baseline", message, remedy))
    known = TASK_KINDS[spec.task.kind].metrics
    for place, published in enumerate(spec.reference):
        if published.metric not in known:
            message = f"{published.metric} is not a metric of {spec.task.kind}"
            remedy = f"allowed are {', '.join(known)}"
            problems.append(Problem(f"reference[{place}].metric", message, remedy))
    return problems
