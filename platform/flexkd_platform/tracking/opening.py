"""Resolve, check and open a tracking store."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ..spec import Problem
from .connection import artifact_root, connect, open_once, patience, sqlite_path
from .mlflow_tracker import MlflowTracker
from .moved import follow_move
from .no_tracker import NoTracker
from .redaction import shown_uri, without_password
from .resilient import ResilientTracker
from .tracker import Tracker

NONE = "none"
"""The tracking URI that disables tracking."""

DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Databases that are opened directly, with their default ports."""

REFUSALS = (
    (
        ("Invalid Host header",),
        "rejects this host name",
        "start it with `mlflow server --allowed-hosts <that name and port>`, or give a name that "
        "it accepts",
    ),
    (
        ("error code 401",),
        "requires authentication",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    ),
    (
        ("error code 403",),
        "denies access to this user",
        "ask for the permission to read and create experiments, or set the variables "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of a user who has it",
    ),
    (
        ("out-of-date database schema",),
        "has an incompatible database schema",
        "back it up and run `mlflow db upgrade {uri}`, with the password in it if it has one",
    ),
    (
        ("password authentication failed", "no password supplied"),
        "rejects the URI's user and password",
        "correct them",
    ),
    (
        ("No module named",),
        "needs a driver that is not installed here",
        "install psycopg2-binary and write postgresql+psycopg2://, or the driver of your database",
    ),
)
"""Known errors of stores: substrings of the error, its meaning, and a remedy."""

CHECK_SECONDS = 15
TRACKING_OPTION = "--tracking-uri"
EXPERIMENT = "tracking.experiment"


def default_uri(storage: str | Path) -> str:
    """A SQLite database in the storage folder, by its absolute path.

    Raises:
        ValueError: the storage is not a local folder, which SQLite requires.
    """
    text = str(storage).removeprefix("file://")
    if "://" in text:
        raise ValueError(
            f"storage {text} is not a local folder; name an MLflow server: {TRACKING_OPTION}"
        )
    return f"sqlite:///{Path(text).absolute() / 'mlflow.db'}"


def absolute_uri(uri: str) -> str:
    """Make a relative SQLite path absolute: the URI must not depend on the working directory."""
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path.absolute()}"


def open_tracker(
    uri: str,
    experiment: str,
    *,
    artifact_location: str | None = None,
    log_students: bool = False,
    on_trouble: Callable[[str], None] | None = None,
) -> Tracker:
    """Open the tracker for a URI that has passed `check_tracking`.

    Args:
        uri: of a server or database, or "none".
        experiment, artifact_location, log_students: see `MlflowTracker`.
        on_trouble: called once if the store becomes unavailable; the tracker then never raises.
            Without it, calls raise.

    Raises:
        mlflow.MlflowException: the SQLite database cannot be opened or created.
    """
    if uri == NONE:
        return NoTracker()
    uri = absolute_uri(uri)
    database = sqlite_path(uri)
    if database is not None:
        connect(uri)  # creates the database here, before any worker could
        follow_move(database, Path(artifact_location or artifact_root(database)))
    tracker = MlflowTracker(uri, experiment, artifact_location, log_students)
    if on_trouble is None:
        return tracker
    return ResilientTracker(tracker, lambda line: on_trouble(without_password(line, uri)))


def check_form(uri: str) -> list[Problem]:
    """Check the syntax of a tracking URI, without a request."""
    if uri == NONE:
        return []
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:  # its text may be part of a password
        message = f"{shown_uri(uri)!r} is not a URI: invalid host or port"
        return [
            _problem(message, "give it as http://host:5000; write / and @ in a password %2F, %40")
        ]
    scheme = parts.scheme.split("+")[0]
    if scheme in {"sqlite", "http", "https", *DATABASES}:
        return []
    given = "a folder" if scheme in {"", "file"} else f"of kind {scheme!r}"
    return [
        _problem(
            f"{shown_uri(uri)!r} is {given}, not a supported tracking store",
            "allowed are http(s)://host:port, sqlite:////absolute/path.db, "
            "postgresql://…, mysql://…, mssql://… and none",
        )
    ]


def check_tracking(uri: str) -> list[Problem]:
    """Check whether a tracking store can be used. Takes seconds at most and creates nothing."""
    problems = check_form(uri)
    if problems or uri == NONE:
        return problems
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme == "sqlite":
        return _check_sqlite(uri)
    if scheme in DATABASES:
        return _check_database(uri, parts, parts.port or DATABASES[scheme])
    return _check_server(uri, parts)


def check_experiment(uri: str, name: str) -> list[Problem]:
    """Check whether runs can be recorded in an experiment, after `check_tracking` of its store."""
    path = sqlite_path(uri)
    if uri == NONE or (path is not None and not (path.exists() and path.stat().st_size)):
        return []  # a request would create the database
    another = "name another one: --set tracking.experiment=…"
    try:
        with patience(timeout=CHECK_SECONDS, retries=1):
            found = connect(uri).get_experiment_by_name(name)
    except Exception as error:  # each client library raises its own errors
        text = without_password(" ".join(str(error).split()), uri)
        if "error code 403" in text or "PERMISSION_DENIED" in text:
            message = f"{shown_uri(uri)} denies access to the experiment {name!r}"
            remedy = f"ask for the permission to edit it, or {another}"
            return [Problem(EXPERIMENT, message, remedy)]
        return [_refusal(uri, text, "ask its administrator, or disable tracking with `none`")]
    if found is not None and found.lifecycle_stage == "deleted":
        message = f"the experiment {name!r} was deleted and its name is still in use"
        remedy = f"`mlflow experiments restore -x {found.experiment_id}`, or {another}"
        return [Problem(EXPERIMENT, message, remedy)]
    return []


def _check_sqlite(uri: str) -> list[Problem]:
    path = sqlite_path(uri)
    if path is None or path.name == ":memory:":
        return [_problem(f"{uri!r} has no file path", "give it as sqlite:////absolute/path.db")]
    path = path.absolute()
    place = path if path.exists() else next(p for p in path.parents if p.exists())
    if not path.exists():
        if not place.is_dir() or not os.access(place, os.W_OK):
            return [_problem(f"{path} cannot be created: {place} is not a writable folder")]
        return []
    if not path.is_file() or not os.access(path, os.W_OK):
        return [_problem(f"{path} is not a writable file")]
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return []  # an empty file is an empty database
    if head != b"SQLite format 3\0":
        return [_problem(f"{path} is not an SQLite database", "name another file")]
    return _ask(absolute_uri(uri), f"`mlflow db upgrade {uri}` if its schema is out of date")


def _check_server(uri: str, parts: SplitResult) -> list[Problem]:
    if not parts.hostname:
        return [_problem(f"{shown_uri(uri)!r} has no host", "give it as http://host:5000")]
    return _ask(
        uri,
        "start it (`mlflow server`), correct the URI, or leave it out to record in the storage",
    )


def _check_database(uri: str, parts: SplitResult, port: int) -> list[Problem]:
    host = parts.hostname or "localhost"
    shown = f"{parts.scheme}://{host}:{port}"  # without user and password
    try:
        # MLflow itself retries a connection for a quarter of an hour, whatever the reason.
        socket.create_connection((host, port), timeout=CHECK_SECONDS).close()
    except OSError as error:
        return [_problem(f"no database answers at {shown}: {error}", "start it, or correct it")]
    remedy = f"check the driver, the database and its user at {shown}"
    return _ask(uri, remedy, lambda: open_once(uri)) or _ask(uri, remedy)


def _ask(uri: str, remedy: str, question: Callable[[], object] | None = None) -> list[Problem]:
    """Send the store a request: `question`, or a search for one experiment."""
    try:
        with patience(timeout=CHECK_SECONDS, retries=0):
            if question is not None:
                question()
            else:
                connect(uri).search_experiments(max_results=1)
    except Exception as error:  # each client library raises its own errors
        text = without_password(" ".join(str(error).split()), uri)
        return [_refusal(uri, text, remedy)]
    return []


def _refusal(uri: str, text: str, remedy: str) -> Problem:
    """Convert an error of a store to a problem. text: the error, without passwords."""
    shown = shown_uri(uri)
    for marks, reason, its_remedy in REFUSALS:
        if any(mark in text for mark in marks):
            return _problem(f"{shown} {reason}", its_remedy.format(uri=shown))
    return _problem(f"{shown} does not answer as a tracking store: {_cause(text)}", remedy)


def _cause(text: str) -> str:
    """The innermost reason in one short line, for example `Connection refused`."""
    for mark in ("Connection refused", "timed out", "Name or service not known"):
        if mark in text:
            return mark
    return text if len(text) <= 200 else f"{text[:199]}…"


def _problem(message: str, remedy: str = "") -> Problem:
    return Problem(TRACKING_OPTION, message, remedy)
