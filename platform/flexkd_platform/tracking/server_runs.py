"""Read runs from an MLflow server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from .backend import Run
from .connection import connect, patience
from .encoding import JOB_HASH, JOBS, KIND
from .mlflow_tracker import run_of
from .run_source import Changes, RunSource

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
"""Runs per request."""
OURS = f"tags.`{KIND}` LIKE '%'"
"""Runs that flexkd recorded."""


class ServerRuns(RunSource):
    """The runs on a server, through its REST API. MLflow is imported on the first request.

    The API has no time of the last change. What flexkd itself changes is found by four searches:
    runs that started or ended lately, runs that run, the trials of all jobs among these (a job
    adds itself to the trials that it reuses), and deleted runs. Tags that somebody edits by hand
    and runs that are restored are found when everything is read again.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connected: MlflowClient | None = None

    @property
    def _client(self) -> MlflowClient:
        if self._connected is None:
            self._connected = connect(self._uri)
        return self._connected

    @override
    def mark(self) -> str:
        return ""

    @override
    def experiments(self) -> dict[str, str]:
        found: dict[str, str] = {}
        token: str | None = None
        while True:
            with patience():
                page = self._client.search_experiments(max_results=PAGE, page_token=token)
            found |= {experiment.name: experiment.experiment_id for experiment in page}
            token = page.token
            if not token:
                return found

    @override
    def changes(
        self, experiments: Sequence[str], known: Mapping[str, str], since: int | None
    ) -> Changes:
        ids = list(experiments)
        if since is None:
            found = {run.id: run for run in self._search(ids, OURS)}
            return Changes([(run, "") for run in found.values()], known.keys() - found.keys())
        found = {
            run.id: run
            for rule in (
                f"attributes.start_time >= {since}",
                f"attributes.end_time >= {since}",
                "attributes.status = 'RUNNING'",
            )
            for run in self._search(ids, f"{OURS} and {rule}")
        }
        jobs = [run for run in found.values() if run.tags[KIND] == "job"]
        for job in jobs:
            used = f"{OURS} and tags.`{JOBS}` LIKE '%{job.tags.get(JOB_HASH, '')}%'"
            found |= {run.id: run for run in self._search(ids, used)}
        gone = [run.id for run in self._search(ids, OURS, deleted=True) if run.id in known]
        return Changes([(run, "") for run in found.values()], gone)

    def _search(self, ids: list[str], query: str, *, deleted: bool = False) -> Iterator[Run]:
        """All runs that match a query, oldest first."""
        from mlflow.entities import ViewType

        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        token: str | None = None
        while ids:
            with patience():
                page = self._client.search_runs(
                    ids,
                    query,
                    run_view_type=view,
                    max_results=PAGE,
                    order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
                    page_token=token,
                )
            yield from map(run_of, page)
            token = page.token
            if not token:
                return
