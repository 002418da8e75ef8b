"""Connect to MLflow: lazy import, no log output, and short timeouts."""

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
"""Retries per request. MLflow's default of 7 takes minutes if a server is down."""
TIMEOUT = 30
"""Request timeout in seconds, except for uploads of artifacts."""
ARTIFACT_TIMEOUT = 600
"""Request timeout in seconds for uploads: the server forwards the file to its storage."""
LOCK_TIMEOUT = 120
"""Seconds to wait for another process to create a database, which takes about 3 s."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables that are set before MLflow is imported, unless the user has set them."""


SYSTEM_METRICS = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
"""MLflow's environment variable; here system metrics are recorded unless it is false."""


def logs_system_metrics() -> bool:
    """Whether the use of machines by trials is recorded."""
    return os.environ.get(SYSTEM_METRICS, "true").lower() not in {"false", "0"}


def connect(uri: str) -> MlflowClient:
    """Create a client of the tracking store at `uri`; a missing SQLite database is created.

    Importing MLflow and creating a database take seconds each.

    Raises:
        mlflow.MlflowException: a database cannot be opened. No request is sent to a server.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        _at_least(logging.getLogger(name), logging.WARNING)
    # The first also prints the traceback of every error that it raises, the second that of Ctrl-C.
    for name in ("mlflow.store.db.utils", "sqlalchemy.pool"):
        _at_least(logging.getLogger(name), logging.CRITICAL)
    database = sqlite_path(uri)
    if database is not None:
        create_schema(uri, database)
    # Without an explicit registry, the client would look for one in the environment.
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def open_once(uri: str) -> None:
    """Connect to a database without changing it.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, ImportError: it cannot be opened, or its driver is missing.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def create_schema(uri: str, database: Path) -> None:
    """Create a SQLite tracking database if it is missing; processes wait for each other."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database.parent.mkdir(parents=True, exist_ok=True)
    # Two concurrent initial migrations leave a database that neither process can use.
    with alone_with(database):
        # The artifact root of the experiment "Default"; by default it is the current directory.
        SqlAlchemyStore(uri, str(artifact_root(database)))  # type: ignore[no-untyped-call]


def alone_with(database: Path) -> AbstractContextManager[object]:
    """A context in which no other process creates a schema or a run in a SQLite database."""
    # Another user's database may be read-only: nothing is created or locked there.
    if not os.access(database.parent, os.W_OK):
        return nullcontext()
    return FileLock(f"{database}.lock", timeout=LOCK_TIMEOUT)


def artifact_root(database: Path) -> Path:
    """The artifact folder of a SQLite database, next to it."""
    return database.parent / "mlartifacts"


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URI; None for other URIs."""
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme.split("+")[0] == "sqlite" and path else None


@contextmanager
def patience(timeout: int = TIMEOUT, retries: int = RETRIES) -> Iterator[None]:
    """A context with short request timeouts and few retries, without a warning for every retry.

    Environment variables set by the user take precedence.
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


@contextmanager
def only_errors(name: str) -> Iterator[None]:
    """A context in which a logger prints errors only."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _at_least(logger: logging.Logger, level: int) -> None:
    logger.setLevel(max(logger.level, level))
