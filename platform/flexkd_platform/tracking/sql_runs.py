"""Read runs from the tables of MLflow's database: SQLite, PostgreSQL, MySQL or MSSQL.

MLflow's own `search_runs` takes about 5 ms for each run of 80 values, for objects that are dropped
again. The tables are those of MLflow 2 and 3; a test compares what both return.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .backend import Run
from .connection import sqlite_path
from .encoding import KIND
from .redaction import without_password
from .run_source import Changes, RunSource, UnreadableStoreError

if TYPE_CHECKING:
    import sqlalchemy as sa

BUSY_SECONDS = 30
"""How long to wait for a process that writes to a SQLite database."""
RUNS_PER_QUERY = 500
COUNTER = slice(24, 28)
"""The change counter in the header of a SQLite file: https://sqlite.org/fileformat.html."""
COLUMNS = {
    "experiments": ("experiment_id", "name", "lifecycle_stage"),
    "runs": ("run_uuid", "experiment_id", "status", "start_time", "end_time", "lifecycle_stage"),
    "tags": ("run_uuid", "key", "value"),
    "params": ("run_uuid", "key", "value"),
    "latest_metrics": ("run_uuid", "key", "value", "timestamp", "step", "is_nan"),
}
"""What is read of MLflow's tables."""

Rows = dict[str, dict[str, Any]]
"""Run id → key → value."""


class SqlRuns(RunSource):
    """The runs in a database. SQLAlchemy is imported on the first query.

    Every run has a signature: a digest of its state, its tags, and the number and times of its
    metrics and params. A run is read again if its signature changes, so that edited tags and
    values that were logged later are found.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @override
    def mark(self) -> str:
        path = sqlite_path(self._uri)
        return "" if path is None else _file_mark(path)

    @override
    def experiments(self) -> dict[str, str]:
        with self._connection() as (connection, tables):
            table = tables["experiments"].c
            query = _select(table.name, table.experiment_id).where(
                table.lifecycle_stage == "active"
            )
            return {name: str(number) for name, number in connection.execute(query)}

    @override
    def changes(
        self, experiments: Sequence[str], known: Mapping[str, str], since: int | None
    ) -> Changes:
        with self._connection() as (connection, tables):
            # Tags first: the tag with the status is written last, so a trial that is read as done
            # has its metrics by then.
            tags = self._rows(connection, tables, "tags", experiments)
            signatures, infos = self._signatures(connection, tables, experiments, tags)
            new = [run for run, signature in signatures.items() if known.get(run) != signature]
            params = _values(connection, tables["params"], new)
            metrics = _values(connection, tables["latest_metrics"], new)
        found = [
            Run(
                run,
                infos[run].status,
                tags[run],
                params.get(run, {}),
                metrics.get(run, {}),
                experiment=str(infos[run].experiment_id),
                started=infos[run].start_time or 0,
            )
            for run in new
        ]
        return Changes([(run, signatures[run.id]) for run in found], known.keys() - signatures)

    @contextmanager
    def _connection(self) -> Iterator[tuple[sa.Connection, dict[str, sa.TableClause]]]:
        import sqlalchemy as sa

        tables = {
            name: sa.table(name, *map(sa.column, columns)) for name, columns in COLUMNS.items()
        }
        waiting = {} if sqlite_path(self._uri) is None else {"timeout": BUSY_SECONDS}
        try:
            engine = sa.create_engine(self._uri, connect_args=waiting)
            try:
                with engine.connect() as connection:
                    yield connection, tables
            finally:
                engine.dispose()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            text = without_password(" ".join(str(error).split()), self._uri)
            raise UnreadableStoreError(text) from None

    def _rows(
        self,
        connection: sa.Connection,
        tables: Mapping[str, sa.TableClause],
        name: str,
        experiments: Sequence[str],
    ) -> Rows:
        """The keys and values of a table, of the runs of flexkd in these experiments."""
        table, runs = tables[name].c, tables["runs"].c
        query = (
            _select(table.run_uuid, table.key, table.value)
            .select_from(tables["runs"].join(tables[name], table.run_uuid == runs.run_uuid))
            .where(*_active(runs, experiments))
        )
        found: Rows = defaultdict(dict)
        for run, key, value in connection.execute(query):
            found[run][key] = value
        return {run: values for run, values in found.items() if KIND in values}

    def _signatures(
        self,
        connection: sa.Connection,
        tables: Mapping[str, sa.TableClause],
        experiments: Sequence[str],
        tags: Rows,
    ) -> tuple[dict[str, str], dict[str, sa.Row[Any]]]:
        """Run id → signature, and run id → row of `runs`, of the runs with these tags."""
        import sqlalchemy as sa

        runs = tables["runs"].c
        query = _select(*runs).where(*_active(runs, experiments))
        infos = {row.run_uuid: row for row in connection.execute(query) if row.run_uuid in tags}
        logged: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        metric = tables["latest_metrics"].c
        for name, numbers in (
            ("params", [sa.func.count()]),
            (
                "latest_metrics",
                [sa.func.count(), sa.func.max(metric.timestamp), sa.func.max(metric.step)],
            ),
        ):
            table = tables[name].c
            counted = (
                _select(table.run_uuid, *numbers)
                .select_from(tables["runs"].join(tables[name], table.run_uuid == runs.run_uuid))
                .where(*_active(runs, experiments))
                .group_by(table.run_uuid)
            )
            for run, *values in connection.execute(counted):
                logged[run].append((name, *values))
        return {
            run: _digest((*map(str, info), sorted(tags[run].items()), logged[run]))
            for run, info in infos.items()
        }, infos


def _active(runs: Any, experiments: Sequence[str]) -> tuple[Any, ...]:
    numbers = [int(experiment) for experiment in experiments]
    return runs.lifecycle_stage == "active", runs.experiment_id.in_(numbers)


def _select(*columns: Any) -> sa.Select[Any]:
    import sqlalchemy as sa

    return sa.select(*columns)


def _values(connection: sa.Connection, table: sa.TableClause, runs: Sequence[str]) -> Rows:
    """Run id → key → value, of some runs; a metric that is NaN is stored with a flag."""
    found: Rows = defaultdict(dict)
    for start in range(0, len(runs), RUNS_PER_QUERY):
        some = table.c.run_uuid.in_(runs[start : start + RUNS_PER_QUERY])
        for row in connection.execute(_select(*table.c).where(some)):
            run, key, value, *further = row
            found[run][key] = float("nan") if further and further[-1] else value
    return found


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=12).hexdigest()


def _file_mark(path: Path) -> str:
    """The identity, size and change counter of a SQLite file and of its write-ahead log."""
    status = path.stat()
    with path.open("rb") as file:
        counter = file.read(COUNTER.stop)[COUNTER].hex()
    log = path.with_name(f"{path.name}-wal")
    ahead = log.stat() if log.exists() else None
    of_log = (ahead.st_size, ahead.st_mtime_ns) if ahead is not None else ()
    return repr((status.st_ino, status.st_size, status.st_mtime_ns, counter, of_log))
