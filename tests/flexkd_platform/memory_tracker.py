"""Runs in memory, beside those of MLflow in the tracker's contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from flexkd_platform.tracking.backend import Point, Run, RunBackend, RunStatus
from flexkd_platform.tracking.encoding import read_trial
from flexkd_platform.tracking.records import DatasetRecord, TrialRecord
from flexkd_platform.tracking.run_tracker import RunTracker


@dataclass
class MemoryRun:
    """A run and all it holds; `artifacts` maps paths to their bytes' count."""

    id: str
    name: str
    status: RunStatus
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    artifacts: dict[str, int] = field(default_factory=dict)
    datasets: dict[str, DatasetRecord] = field(default_factory=dict)


class MemoryRuns(RunBackend):
    """Runs in a list, which outlives the backend when it is given."""

    def __init__(self, runs: list[MemoryRun] | None = None) -> None:
        self.runs = [] if runs is None else runs
        self._made = len(self.runs)

    @override
    def find(self, tags: Mapping[str, str]) -> Run | None:
        found = (run for run in self.runs if tags.items() <= run.tags.items())
        run = next(found, None)
        return None if run is None else snapshot(run)

    @override
    def creating(self) -> AbstractContextManager[object]:
        return nullcontext()

    @override
    def create(self, name: str, tags: Mapping[str, str]) -> str:
        self._made += 1
        self.runs.append(MemoryRun(f"memory-{self._made}", name, "RUNNING", dict(tags)))
        return self.runs[-1].id

    @override
    def discard(self, run_id: str) -> None:
        self.runs.remove(self._run(run_id))

    @override
    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._run(run_id).tags.update(tags)

    @override
    def remove_tag(self, run_id: str, key: str) -> None:
        del self._run(run_id).tags[key]

    @override
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        self._run(run_id).params.update(params)

    @override
    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        self._run(run_id).points.extend(points)

    @override
    def points(self, run: Run) -> Iterable[Point]:
        return sorted(self._run(run.id).points, key=lambda point: point.step)

    @override
    def set_status(self, run_id: str, status: RunStatus) -> None:
        self._run(run_id).status = status

    @override
    def log_dataset(self, run_id: str, dataset: DatasetRecord) -> None:
        self._run(run_id).datasets[dataset.digest] = dataset

    @override
    def artifacts(self, run_id: str, folder: str) -> Mapping[str, int]:
        start = f"{folder}/"
        held = self._run(run_id).artifacts
        return {p.removeprefix(start): size for p, size in held.items() if p.startswith(start)}

    @override
    def put(self, run_id: str, artifact: str, path: Path) -> None:
        held = self._run(run_id).artifacts
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file():
                    name = inner.relative_to(path).as_posix()
                    held[f"{artifact}/{name}"] = inner.stat().st_size
        else:
            held[artifact] = path.stat().st_size

    @override
    def close(self) -> None:
        """Nothing to let go of."""

    def _run(self, run_id: str) -> MemoryRun:
        return next(run for run in self.runs if run.id == run_id)


class MemoryTracker(RunTracker):
    """A tracker whose runs are gone with it, unless it is given a list to keep them in."""

    def __init__(self, runs: list[MemoryRun] | None = None, *, log_students: bool = False) -> None:
        backend = MemoryRuns(runs)
        self.runs = backend.runs
        super().__init__(backend, log_students=log_students)

    def trials(self) -> list[TrialRecord]:
        """The finished trials, as `read_trials` gives them, in the order they were started."""
        records = (read_trial(snapshot(run)) for run in self.runs)
        return [record for record in records if record is not None]


def snapshot(run: MemoryRun) -> Run:
    """The run as it is now."""
    latest = {p.key: p.value for p in sorted(run.points, key=lambda point: point.step)}
    return Run(run.id, run.status, dict(run.tags), dict(run.params), latest)
