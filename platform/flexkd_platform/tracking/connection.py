"""MLflow, imported when it is first needed, quiet, and not patient for minutes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRIES = 2
"""Further attempts of one request. MLflow's own 7 take minutes when a server is down."""
TIMEOUT = 30
"""Seconds a server may stay silent, except while it takes in artifacts."""
ARTIFACT_TIMEOUT = 600
"""Seconds a server may take to pass an uploaded file on to its storage."""
LOCK_TIMEOUT = 120
"""Seconds to wait for another process to create a database, which takes about three."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""What is set in the environment before MLflow is imported, unless a person has set it."""


def connect(uri: str) -> MlflowClient:
    """A client of the tracking store at `uri`; a SQLite database is created if it is missing.

    Importing MLflow takes seconds, and so does creating a database.

    Raises:
        mlflow.MlflowException: a database that cannot be opened. Servers are not asked yet.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        _at_least(logging.getLogger(name), logging.WARNING)
    # The one prints the traceback of every error that it raises as well, the other that of Ctrl-C.
    for name in ("mlflow.store.db.utils", "sqlalchemy.pool"):
        _at_least(logging.getLogger(name), logging.CRITICAL)
    database = sqlite_path(uri)
    if database is not None:
        create_schema(uri, database)
    # Without a registry of its own the client would look for one in the environment.
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def open_once(uri: str) -> None:
    """Connect to a database and leave it as it is.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, ImportError: it cannot be opened, or has no driver here.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def create_schema(uri: str, database: Path) -> None:
    """Create a SQLite tracking database, unless it is there; processes wait for one another."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database.parent.mkdir(parents=True, exist_ok=True)
    # Two first-time migrations at once leave a database that neither can use.
    with alone_with(database):
        # The artifact root of the experiment "Default"; MLflow's own is the current directory.
        SqlAlchemyStore(uri, str(artifact_root(database)))  # type: ignore[no-untyped-call]


def alone_with(database: Path) -> AbstractContextManager[object]:
    """Within it, no other process creates a schema or a run in a SQLite database."""
    # Somebody else's database may be readable only: nothing is created there, nor locked.
    if not os.access(database.parent, os.W_OK):
        return nullcontext()
    return FileLock(f"{database}.lock", timeout=LOCK_TIMEOUT)


def artifact_root(database: Path) -> Path:
    """Where artifacts go that are recorded in a SQLite database: beside it."""
    return database.parent / "mlartifacts"


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URI; None for other URIs."""
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme.split("+")[0] == "sqlite" and path else None


@contextmanager
def patience(timeout: int = TIMEOUT, retries: int = RETRIES) -> Iterator[None]:
    """Within it, requests to a server give up soon, and without a warning for every attempt.

    What a person has set in the environment stays.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    attempts = logging.getLogger("urllib3.connectionpool")
    level = attempts.level
    os.environ.update(added)
    attempts.setLevel(logging.ERROR)
    try:
        yield
    finally:
        attempts.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


def _at_least(logger: logging.Logger, level: int) -> None:
    logger.setLevel(max(logger.level, level))
