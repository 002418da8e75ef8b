"""Store runs in MLflow: on a server, or in a database that is opened directly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from .backend import Point, Run, RunBackend, RunStatus
from .connection import ARTIFACT_TIMEOUT, alone_with, artifact_root, connect, patience, sqlite_path
from .links import TrackedJob, link_uri
from .records import DatasetRecord
from .run_tracker import RunTracker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

Row = TypeVar("Row")

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
DIGEST_LIMIT = 36  # MLflow's limit; the dataset's source has the full digest


class MlflowTracker(RunTracker):
    """A tracker of one MLflow experiment, which is created if it does not exist.

    MLflow is imported, and the store connected, on the first call.

    Args:
        uri: of a server, or of a database, with an absolute path if it is SQLite.
        experiment: name of the MLflow experiment.
        artifact_location: folder or URI for a new experiment's artifacts. By default the server
            decides; for SQLite it is `mlartifacts` next to the database.
        log_students: log students' folders as artifacts.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        artifact_location: str | None = None,
        log_students: bool = False,
    ) -> None:
        runs = MlflowRuns(uri, experiment, artifact_location)
        super().__init__(runs, log_students=log_students)
        self._place = (link_uri(uri), experiment, runs.experiment_id)

    @override
    def tracked(self) -> TrackedJob | None:
        uri, name, experiment_id = self._place
        return None if self._job is None else TrackedJob(uri, name, experiment_id(), self._job.id)


class MlflowRuns(RunBackend):
    """The runs of one experiment. Only uses `MlflowClient`: no active run, no global state."""

    def __init__(self, uri: str, experiment: str, artifact_location: str | None = None) -> None:
        self._uri = uri
        self._database = sqlite_path(uri)
        if artifact_location is None and self._database is not None:
            artifact_location = str(artifact_root(self._database))
        self._name = experiment
        self._location = artifact_location
        self._client: MlflowClient | None = None
        self._experiment = ""

    @property
    def client(self) -> MlflowClient:
        """The client, connected on first use."""
        if self._client is None:
            self._client = connect(self._uri)
        return self._client

    @override
    def find(self, tags: Mapping[str, str]) -> Run | None:
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        client = self.client
        with patience():
            found = client.search_runs(
                [self.experiment_id()],
                query,
                max_results=1,
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            )
        return run_of(found[0]) if found else None

    @override
    def creating(self) -> AbstractContextManager[object]:
        # A server has no lock; see RunTracker for what is done instead.
        return nullcontext() if self._database is None else alone_with(self._database)

    @override
    def create(self, name: str, tags: Mapping[str, str]) -> str:
        client = self.client
        with patience():
            run = client.create_run(self.experiment_id(), tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    @override
    def discard(self, run_id: str) -> None:
        with patience():
            self.client.delete_run(run_id)

    @override
    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        rows = [RunTag(key, value) for key, value in tags.items()]
        with patience():
            self.client.log_batch(run_id, tags=rows, synchronous=True)

    @override
    def remove_tag(self, run_id: str, key: str) -> None:
        with patience():
            self.client.delete_tag(run_id, key)

    @override
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        rows = [Param(key, value) for key, value in params.items()]
        for batch in _batches(rows, PARAMS_PER_CALL):
            with patience():
                self.client.log_batch(run_id, params=batch, synchronous=True)

    @override
    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(point.key, point.value, now, point.step) for point in points]
        for batch in _batches(rows, METRICS_PER_CALL):
            with patience():
                self.client.log_batch(run_id, metrics=batch, synchronous=True)

    @override
    def points(self, run: Run) -> Iterable[Point]:
        for key in run.metrics:
            with patience():
                history = self.client.get_metric_history(run.id, key)
            for metric in sorted(history, key=lambda metric: (metric.step, metric.timestamp)):
                yield Point(key, metric.step, metric.value)

    @override
    def set_status(self, run_id: str, status: RunStatus) -> None:
        with patience():
            if status == "RUNNING":
                self.client.update_run(run_id, status=status)
            else:
                self.client.set_terminated(run_id, status=status)

    @override
    def log_dataset(self, run_id: str, dataset: DatasetRecord) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(
            name=dataset.name,
            digest=dataset.digest[:DIGEST_LIMIT],
            source_type="flexkd",
            source=json.dumps({"uri": dataset.source, "digest": dataset.digest}),
            profile=json.dumps({"rows": dict(dataset.sizes), **dataset.profile}),
        )
        context = InputTag("mlflow.data.context", "training")
        with patience():
            self.client.log_inputs(run_id, [DatasetInput(entity, [context])])

    @override
    def artifacts(self, run_id: str, folder: str) -> Mapping[str, int]:
        sizes: dict[str, int] = {}
        folders = [folder]
        while folders:
            with patience():
                entries = self.client.list_artifacts(run_id, folders.pop())
            for entry in entries:
                if entry.is_dir:
                    folders.append(entry.path)
                else:
                    sizes[str(PurePosixPath(entry.path).relative_to(folder))] = entry.file_size or 0
        return sizes

    @override
    def put(self, run_id: str, artifact: str, path: Path) -> None:
        target = PurePosixPath(artifact)
        folder = str(target.parent) if target.parent.name else None
        with patience(timeout=ARTIFACT_TIMEOUT), TemporaryDirectory() as staging:
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), artifact)
                return
            if path.name != target.name:  # MLflow keeps the local name
                renamed = Path(staging, target.name)
                renamed.symlink_to(path.resolve())
                path = renamed
            self.client.log_artifact(run_id, str(path), folder)

    @override
    def close(self) -> None:
        """Drop the client, which keeps no connection open between requests."""
        self._client = None

    def experiment_id(self) -> str:
        """The id of the experiment, which is created if it does not exist."""
        if not self._experiment:
            self._experiment = get_or_create_experiment(self.client, self._name, self._location)
        return self._experiment


def get_or_create_experiment(client: MlflowClient, name: str, location: str | None) -> str:
    """Get the id of the experiment, and create it if it does not exist.

    Raises:
        ValueError: an experiment with this name was deleted; the name is still in use.
    """
    from mlflow import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another process may have created it meanwhile.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ValueError(
            f"MLflow experiment {name!r} was deleted; restore it with "
            f"`mlflow experiments restore -x {found.experiment_id}`, or name another"
        )
    return str(found.experiment_id)


def run_of(run: MlflowRun) -> Run:
    """Convert an MLflow run."""
    data, info = run.data, run.info
    return Run(
        info.run_id,
        info.status,
        data.tags,
        data.params,
        data.metrics,
        experiment=info.experiment_id,
        started=info.start_time or 0,
    )


def _batches(rows: Sequence[Row], size: int) -> list[list[Row]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]
