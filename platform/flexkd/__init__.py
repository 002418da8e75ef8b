"""flexkd in Python: run knowledge-distillation jobs, read their results, take students out.

    import flexkd

    spec = flexkd.load_spec("job.yaml", {"distill.epochs": 3})
    results = flexkd.run(spec)
    results.dataframe()
    model, tokenizer = results.best().load()

A wrong request raises `SpecError`, whose `problems` are all that is wrong. See docs/python.md.
Names are imported when they are first used: `import flexkd` itself imports no other library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexkd_platform.spec import JobSpec, Problem, SpecError
    from flexkd_platform.tracking import TrialRecord, read_trials

    from .jobs import JobPlan, load_spec, open_results, plan, run
    from .results import Results, Student
    from .trainer import FlexKdCallback, feature_loss

__all__ = [
    # 1. a job
    "load_spec",
    "JobSpec",
    "plan",
    "JobPlan",
    "run",
    # 2. its results, and its students
    "open_results",
    "Results",
    "Student",
    # 3. the trials of all jobs
    "read_trials",
    "TrialRecord",
    # 4. what is wrong with a request
    "SpecError",
    "Problem",
    # 5. Flex-KD in another training loop
    "FlexKdCallback",
    "feature_loss",
]

_HOMES = {
    "load_spec": "flexkd.jobs",
    "plan": "flexkd.jobs",
    "JobPlan": "flexkd.jobs",
    "run": "flexkd.jobs",
    "open_results": "flexkd.jobs",
    "Results": "flexkd.results",
    "Student": "flexkd.results",
    "FlexKdCallback": "flexkd.trainer",
    "feature_loss": "flexkd.trainer",
    "JobSpec": "flexkd_platform.spec",
    "Problem": "flexkd_platform.spec",
    "SpecError": "flexkd_platform.spec",
    "TrialRecord": "flexkd_platform.tracking",
    "read_trials": "flexkd_platform.tracking",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
