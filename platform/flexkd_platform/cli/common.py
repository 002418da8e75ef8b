"""What commands share: options, opening things, saying what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ..plan import Plan
from ..search import build_plan
from ..spec import JobSpec, Problem, SpecError, line_in, load_spec
from ..store import Store, StoreError, absolute_location, open_store
from ..tracking import TRACKING_OPTION, absolute_uri, check_experiment, check_tracking, default_uri

out = Console(highlight=False, soft_wrap=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

IN_STORAGE = "SQLite in the storage"
"""Where runs are recorded by default."""

SpecArgument = Annotated[Path, typer.Argument(help="job spec in YAML", show_default=False)]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="path=value, changes the spec; repeatable", metavar="PATH=VALUE"),
]
StorageOption = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="FLEXKD_STORAGE",
        help="folder or URI (s3://…) of artifacts and jobs",
        metavar="URI",
    ),
]
TrackingOption = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database; none: record nothing",
        metavar="URI",
        show_default=IN_STORAGE,
    ),
]
ReadTrackingOption = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database that is read",
        metavar="URI",
        show_default=IN_STORAGE,
    ),
]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        help="local: a Ray of its own; none: no Ray; auto or host:port: a cluster",
        metavar="ADDRESS",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="machine-readable output")]

ON_THIS_MACHINE = ("local", "none")
"""Addresses that mean this machine, whose size is known before anything is started."""

DEFAULT_STORAGE = "flexkd-storage"


def read_spec(path: Path, overrides: list[str], more: Iterable[Problem] = ()) -> JobSpec:
    """The spec.

    Raises:
        SpecError: everything that is wrong with it, and `more`.
    """
    try:
        return load_spec(path, overrides)
    except SpecError as error:
        raise SpecError([*error.problems, *more], error.source) from None


def reachable_store(uri: str) -> tuple[Store | None, list[Problem]]:
    """The storage, tried out by writing to it."""
    try:
        store = open_store(uri)
        store.check_writable()
    except StoreError as error:
        remedy = "name a folder or bucket that you may write to"
        return None, [Problem("--storage", str(error), remedy)]
    return store, []


def tracking_uri(given: str, storage: str) -> tuple[str, list[Problem]]:
    """The tracking URI that is meant, and what is wrong with it."""
    try:
        uri = absolute_uri(given) if given else default_uri(absolute_location(storage))
    except StoreError as error:
        return given, [Problem("--storage", str(error), "correct it, or give --tracking-uri")]
    except ValueError as error:
        return given, [Problem("--tracking-uri", str(error), "give --tracking-uri")]
    return uri, check_tracking(uri)


def reachable(storage: str, tracking: str) -> tuple[Store | None, str, list[Problem]]:
    """Storage and tracking URI, and what is wrong with either."""
    store, problems = reachable_store(storage)
    if store is None and not tracking:
        return None, "", problems  # the database would lie in the storage
    uri, found = tracking_uri(tracking, storage)
    return store, uri, [*problems, *found]


def read_request(
    path: Path, overrides: list[str], storage: str, tracking: str
) -> tuple[JobSpec, Store | None, str, list[Problem]]:
    """A spec, the storage and tracking URI it is to use, and what is wrong with either of those.

    Raises:
        SpecError: what is wrong with the spec, and with the places too.
    """
    store, uri, problems = reachable(storage, tracking)
    spec = read_spec(path, overrides, problems)
    if uri and not any(problem.path == TRACKING_OPTION for problem in problems):
        problems += check_experiment(uri, spec.experiment)
    return spec, store, uri, problems


def checked_plan(
    spec: JobSpec, source: Path, overrides: list[str], more: Iterable[Problem] = ()
) -> Plan:
    """The plan of a spec that nothing is wrong with.

    Raises:
        SpecError: all that is wrong, `more` included.
    """
    # Looking at models and data takes torch, which an error in the YAML need not wait for.
    from ..preflight import Preflight

    preflight = Preflight()
    problems = [*preflight.problems(spec), *more]
    if problems:
        text = source.read_text(encoding="utf-8")
        given = tuple(override.partition("=")[0] for override in overrides)
        lined = [
            # What came from the command line has no line.
            p if given and p.path.startswith(given) else replace(p, line=line_in(text, p.path))
            for p in problems
        ]
        raise SpecError(lined, str(source))
    return build_plan(spec, preflight.facts_of)


def show_problems(error: SpecError, as_json: bool) -> None:
    """Problems on stderr, for people; as JSON on stdout when asked."""
    if as_json:
        rows = [
            {"path": p.path, "line": p.line, "message": p.message, "remedy": p.remedy}
            for p in error.problems
        ]
        print(json.dumps({"source": error.source, "problems": rows}, ensure_ascii=False))
    count = len(error.problems)
    title = f"{error.source}: " if error.source else ""
    what = "1 problem" if count == 1 else f"{count} problems"
    err.print(f"[bold red]error[/]: {escape(title)}{what}, nothing was started")
    for problem in error.problems:
        for number, line in enumerate(str(problem).splitlines()):
            err.print(f"  {line}", style="" if number == 0 else "dim", markup=False)


def quiet_libraries() -> None:
    """Libraries that write to the terminal unasked, told not to before they are imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
