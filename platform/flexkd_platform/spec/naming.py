"""Methods and metrics that a spec only names, against those that it has.

Numbers published for further methods may stay when a sweep is narrowed: the report lists them.
"""

from __future__ import annotations

from .job import JobSpec
from .problems import Problem
from .sweep import Sweep
from .task import TASK_KINDS


def naming_problems(spec: JobSpec) -> list[Problem]:
    """A baseline that no method of the sweep is, published numbers of a metric of other tasks."""
    methods = dict.fromkeys(method.kind for method in spec.sweep.methods)
    problems = []
    baseline = spec.sweep.baseline
    # The default need not be there: a spec that was written out names it in any case.
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
