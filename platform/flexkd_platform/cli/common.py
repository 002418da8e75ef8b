"""Shared by commands: read a spec, open its storage, and report problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..plan import Plan
from ..spec import JobSpec, Problem, SpecError, line_in, load_spec
from ..store import Store, StoreError, absolute_location, open_store
from ..tracking import TRACKING_OPTION, absolute_uri, check_experiment, check_tracking, default_uri
from .console import err

if TYPE_CHECKING:
    from ..data import DataFacts  # imports numpy
    from ..results import JobFiles

ON_THIS_MACHINE = ("local", "none")
"""Addresses of this machine, whose resources are known before anything starts."""


def read_spec(path: Path, overrides: list[str], more: Iterable[Problem] = ()) -> JobSpec:
    """Load the spec; of classification with lists of classes, as a multi-label one, with a warning.

    Raises:
        SpecError: all problems of the spec, and `more`.
    """
    try:
        spec = load_spec(path, overrides)
    except SpecError as error:
        raise SpecError([*error.problems, *more], error.source) from None
    # It imports numpy and pyarrow; an error in the YAML should not wait for them.
    from ..data.found_lists import with_label_lists

    spec, notes = with_label_lists(spec)
    for note in _lined(notes, path, overrides):
        err.print(f"warning: {note}", markup=False, soft_wrap=True)
    return spec


def job_files(storage: str, job: str) -> JobFiles:
    """The files of a job, by its id or name.

    Raises:
        SpecError: there is no such job, or the storage cannot be read.
    """
    from ..results import find_job  # imports numpy

    try:
        return find_job(open_store(storage), job)
    except (StoreError, OSError) as error:
        remedy = "name the storage of the job, which must be reachable from here"
        raise SpecError([Problem("--storage", str(error), remedy)]) from None


def reachable_store(uri: str) -> tuple[Store | None, list[Problem]]:
    """Open the storage and check it by writing to it."""
    try:
        store = open_store(uri)
        store.check_writable()
    except StoreError as error:
        remedy = "name a folder or bucket that you may write to"
        return None, [Problem("--storage", str(error), remedy)]
    return store, []


def tracking_uri(given: str, storage: str) -> tuple[str, list[Problem]]:
    """The resolved tracking URI, and its problems."""
    try:
        uri = absolute_uri(given) if given else default_uri(absolute_location(storage))
    except StoreError as error:
        return given, [Problem("--storage", str(error), "correct it, or give --tracking-uri")]
    except ValueError as error:
        return given, [Problem("--tracking-uri", str(error), "give --tracking-uri")]
    return uri, check_tracking(uri)


def reachable(storage: str, tracking: str) -> tuple[Store | None, str, list[Problem]]:
    """The storage and the tracking URI, and their problems."""
    store, problems = reachable_store(storage)
    if store is None and not tracking:
        return None, "", problems  # the database would be in the storage
    uri, found = tracking_uri(tracking, storage)
    return store, uri, [*problems, *found]


def read_request(
    path: Path, overrides: list[str], storage: str, tracking: str
) -> tuple[JobSpec, Store | None, str, list[Problem]]:
    """The spec, its storage and tracking URI, and the problems of storage and tracking.

    Raises:
        SpecError: the problems of the spec, and those of storage and tracking.
    """
    store, uri, problems = reachable(storage, tracking)
    spec = read_spec(path, overrides, problems)
    if uri and not any(problem.path == TRACKING_OPTION for problem in problems):
        problems += check_experiment(uri, spec.experiment)
    return spec, store, uri, problems


def checked_plan(
    spec: JobSpec, source: Path, overrides: list[str], more: Iterable[Problem] = ()
) -> Plan:
    """Run all checks of a spec, print its warnings, and build its plan.

    Raises:
        SpecError: all problems, including `more`.
    """
    return checked_plan_and_data(spec, source, overrides, more)[0]


def checked_plan_and_data(
    spec: JobSpec, source: Path | None, overrides: list[str], more: Iterable[Problem] = ()
) -> tuple[Plan, list[DataFacts]]:
    """`checked_plan`, and the facts of the data sets; without a source, problems have no lines."""
    # Checks of models and data import torch; an error in the YAML should not wait for it.
    from ..preflight import Preflight
    from ..search import build_plan

    preflight = Preflight()
    problems = [*preflight.problems(spec), *more]
    if problems:
        raise SpecError(_lined(problems, source, overrides), str(source or ""))
    for warning in _lined(preflight.warnings(spec), source, overrides):
        err.print(f"warning: {warning}", markup=False, soft_wrap=True)
    return build_plan(spec, preflight.facts_of), preflight.data(spec)


def _lined(problems: Iterable[Problem], source: Path | None, overrides: list[str]) -> list[Problem]:
    """The problems with their lines in the file."""
    if source is None:
        return list(problems)
    text = source.read_text(encoding="utf-8")
    given = tuple(override.partition("=")[0] for override in overrides)
    return [
        # An override from the command line has no line in the file.
        p if given and p.path.startswith(given) else replace(p, line=line_in(text, p.path))
        for p in problems
    ]
