"""Load, plan and run jobs, with the checks of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flexkd_platform.cli.app import prepare_libraries
from flexkd_platform.spec import JobSpec, SpecError, parse_spec
from flexkd_platform.spec import load_spec as read_spec

if TYPE_CHECKING:
    import pandas as pd

    from flexkd_platform.job import View
    from flexkd_platform.plan import Plan
    from flexkd_platform.store import Store

    from .results import Results

STORAGE = "flexkd-storage"
"""The default storage, as that of the command: a folder below the current directory."""

Overrides = Mapping[str, Any] | Sequence[str]
"""Changes of a spec: dotted path → value, or `path=value` texts as for `--set`."""


def load_spec(spec: str | Path | Mapping[str, Any], overrides: Overrides = ()) -> JobSpec:
    """Read a job spec from a YAML file, or from a mapping of the same form.

    Args:
        spec: a path; or a mapping, as `{"name": "my-first", "sweep": {…}}`.
        overrides: `{"distill.epochs": 3}` or `["distill.epochs=3"]`.

    Raises:
        SpecError: lists all problems, with their lines if the spec is a file.
    """
    if isinstance(overrides, Mapping):
        overrides = [f"{path}={json.dumps(value)}" for path, value in overrides.items()]
    if not isinstance(spec, Mapping):
        return read_spec(Path(spec), overrides)
    text = yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True)
    try:
        return parse_spec(text, overrides)
    except SpecError as error:
        raise SpecError([replace(each, line=None) for each in error.problems]) from None


@dataclass(frozen=True)
class JobPlan:
    """What a job would run.

    id: of the job: its folder in the storage.
    steps: each with `kind`, `hash` and whether it is `present` in the storage, in their order.
    trials: each with `method`, `params`, `seed` and whether it is `present`.
    """

    id: str
    steps: tuple[Mapping[str, Any], ...]
    trials: tuple[Mapping[str, Any], ...]

    def dataframe(self) -> pd.DataFrame:
        """One row for each trial: its method, params, seed and whether it is present."""
        import pandas as pd

        rows = [
            {"method": t["method"], **t["params"], "seed": t["seed"], "present": t["present"]}
            for t in self.trials
        ]
        return pd.DataFrame(rows)


def plan(
    spec: JobSpec, *, storage: str | Path = STORAGE, tracking_uri: str = "", address: str = "local"
) -> JobPlan:
    """Check a spec, its data, its models and its resources, and plan it; nothing is started.

    Of a search with Optuna, the trials are those of its first round. Arguments as in `run`.

    Raises:
        SpecError: all that is wrong with the request.
    """
    from flexkd_platform.cli.plan import plan_numbers
    from flexkd_platform.cluster import Capacity

    made, store, _ = _checked(spec, str(storage), tracking_uri, address)
    numbers = plan_numbers(made, store, Capacity.of_machine(), in_turn=address == "none")
    return JobPlan(spec.id, tuple(numbers["steps"]), tuple(numbers["trials"]))


def run(
    spec: JobSpec,
    *,
    storage: str | Path = STORAGE,
    tracking_uri: str = "",
    address: str = "local",
    progress: bool = True,
) -> Results:
    """Run what is missing of a job, and return its results; see also `Results.status`.

    A trial that fails does not raise: the others run, the status is `failed`, and
    `Results.failed` has the reasons. A KeyboardInterrupt stops the job; the same call resumes it.

    Args:
        storage: folder or URI of artifacts and jobs.
        tracking_uri: MLflow server or database; "" for SQLite in the storage, "none" for no record.
        address: `local` starts Ray on this machine, `none` runs in this process without Ray,
            `auto` or `host:port` joins a cluster.
        progress: print progress: live bars on a terminal, lines in a notebook; False prints
            warnings only.

    Raises:
        SpecError: all that is wrong with the request; nothing has been started.
    """
    prepare_libraries()
    from flexkd_platform.cli.run import carry_out

    made, store, uri = _checked(spec, str(storage), tracking_uri, address)
    view = _view(progress)
    _, complete = carry_out(made, store, uri, address, view)
    if not complete:
        view.warn("tracking is incomplete; the same call records what is missing")
    return open_results(spec.id, storage=storage)


def open_results(job: str, *, storage: str | Path = STORAGE) -> Results:
    """The results of a job that has run, or is running: by its id, or the newest of a name.

    Raises:
        SpecError: there is no such job, or the storage cannot be read.
    """
    from flexkd_platform.cli.common import job_files

    from .results import Results

    return Results(job_files(str(storage), job))


def _checked(
    spec: JobSpec, storage: str, tracking_uri: str, address: str
) -> tuple[Plan, Store, str]:
    """The plan of a request without problems, its store and its tracking URI."""
    from flexkd_platform.cli.common import ON_THIS_MACHINE, checked_plan_and_data, reachable
    from flexkd_platform.cluster import Capacity, resource_problems
    from flexkd_platform.executors import stopping_problems
    from flexkd_platform.tracking import TRACKING_OPTION, check_experiment

    store, uri, problems = reachable(storage, tracking_uri)
    if uri and not any(problem.path == TRACKING_OPTION for problem in problems):
        problems += check_experiment(uri, spec.experiment)
    if address in ON_THIS_MACHINE:
        problems += resource_problems(spec.resources, Capacity.of_machine())
    problems += stopping_problems(spec.sweep.scheduler, address)
    made, _ = checked_plan_and_data(spec, None, [], problems)
    assert store is not None, "a storage that cannot be written is a problem"
    return made, store, uri


def _view(progress: bool) -> View:
    from rich.console import Console

    from flexkd_platform.cli.progress import open_view

    # In a notebook, rich would show each line in a block of its own.
    console = Console(highlight=False, emoji=False, force_jupyter=False)
    return open_view(console, quiet=not progress)
