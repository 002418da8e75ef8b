"""The Ray executor: steps run as Ray tasks, scoring passes on Ray Data, trials on Ray Tune."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

from ..cluster import Capacity
from ..cluster.connect import cluster_capacity, join_cluster
from ..cluster.node_checks import storage_problems
from ..plan import Step, Trial
from ..spec import Problem, Resources
from ..steps import ChunkDone, ChunkedPass, run_step
from ..store import Store
from ..tracking import Progress
from .early_stopping import Halving, RungScores
from .executor import Executor, Handle
from .inprocess import ChunkCount, Finished
from .job_metrics import JobMetrics
from .ray_chunks import run_chunks_on_ray
from .ray_metrics import RayRecording
from .ray_steps import run_step_on_ray
from .ray_sweep import RaySweep
from .room import demand_of, fits
from .work import (
    Advanced,
    Ended,
    OnEvent,
    PassWork,
    Started,
    StepError,
    StepWork,
    TrialWork,
    Work,
    failure_of,
)

LOST_WORKER_RETRIES = 2
"""Retries of a task that lost its process."""

END_SECONDS = 5.0
"""How long `close` waits for cancelled work before it leaves the cluster."""


class RayExecutor(Executor):
    """Runs independent work concurrently: each task and each pass has a thread in the driver."""

    name = "ray"

    def __init__(
        self, store: Store, resources: Resources, address: str, log_file: Path | None = None
    ) -> None:
        super().__init__(store, resources)
        self._leave = join_cluster(address, log_file)
        self._sweep: RaySweep | None = None
        self._sweeps = 0
        self._running: set[_Background] = set()

    def capacity(self) -> Capacity:
        """The cluster's CPUs and GPUs."""
        return cluster_capacity()

    def problems(self) -> list[Problem]:
        """Resource requests that can never be scheduled, and nodes that cannot use the storage."""
        return [*super().problems(), *storage_problems(self.store)]

    def has_room(self, work: Work, running: Collection[Work]) -> bool:
        """Whether the live nodes have room, and the spec allows one more concurrent trial."""
        if isinstance(work, TrialWork):
            most = self.resources.max_concurrent_trials
            if most != "auto" and sum(isinstance(w, TrialWork) for w in running) >= most:
                return False
        demands = [demand_of(each, self.resources) for each in running]
        return fits(demand_of(work, self.resources), demands, self.capacity())

    def submit(self, work: Work, on_event: OnEvent) -> Handle:
        """Start the work; a step that runs in the driver has ended when the call returns.

        Driver steps run in the calling thread: torch's thread count and random generator are global
        to the process, so only one may run at a time.
        """
        if isinstance(work, TrialWork):
            assert self._sweep is not None, "trials are submitted in an open sweep"
            return self._sweep.submit(work, on_event)
        if isinstance(work, StepWork) and work.step.config.kind.runs_on == "driver":
            on_event(Started(work))
            on_event(Ended(work, self._run_here(work.step)))
            return Finished()
        background = _Background(self, work, on_event)
        self._running = {each for each in self._running if each.is_alive()} | {background}
        background.start()
        return background

    def open_sweep(
        self,
        trials: Sequence[Trial],
        on_event: OnEvent,
        halving: Halving | None = None,
        scores: RungScores | None = None,
    ) -> None:
        """Start one Tune experiment, which waits for trials."""
        assert self._sweep is None, "the last sweep is closed"
        self._sweeps += 1
        job = ray.get_runtime_context().get_job_id()
        name = f"sweep-{trials[0].hash[:12]}-{job}-{self._sweeps}"
        self._sweep = RaySweep(
            name, trials, self.store, self.resources, halving, scores or {}, on_event
        )

    def close_sweep(self) -> None:
        """Finish the Tune experiment."""
        if self._sweep is not None:
            self._sweep.close()
            self._sweep = None

    def metrics(self, job: str, user: str) -> JobMetrics:
        """Recorded in Ray, whose nodes export them."""
        return JobMetrics(RayRecording(job, user))

    def close(self) -> None:
        """Stop running work, and the cluster if it was started here."""
        if self._sweep is not None:
            self._sweep.cancel(END_SECONDS)
        for background in self._running:
            background.cancel()
        for background in self._running:
            background.join(END_SECONDS)
        self._leave()

    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run a shared step to its end, in a Ray task or in this process.

        Raises:
            StepError: the step failed.
        """
        if step.config.kind.runs_on == "driver":
            failure = self._run_here(step)
            if failure is not None:
                raise failure
            return
        self.run_task(step, on_progress, lambda task: None)

    def _run_here(self, step: Step) -> StepError | None:
        try:
            for _ in run_step(step, self.store, threads=1):
                pass
        except Exception as error:
            return failure_of(error)
        return None

    def run_task(
        self,
        step: Step,
        on_progress: Callable[[Progress], None],
        on_start: Callable[[Any], None],
    ) -> None:
        """Run a step as one Ray task and stream its progress.

        on_start: receives the task's generator, which `ray.cancel` accepts.

        Raises:
            StepError: the step failed.
        """
        remote = ray.remote(run_step_on_ray).options(
            num_cpus=self.resources.teacher_cpus,
            num_gpus=self.resources.gpus_of_teacher,
            num_returns="streaming",
            max_retries=LOST_WORKER_RETRIES,
        )
        try:
            task = remote.remote(step, self.store.uri, self.resources)
            on_start(task)
            for reference in task:
                event = ray.get(reference)
                if isinstance(event, StepError):
                    raise event
                on_progress(event)
        except Exception as error:
            raise failure_of(error) from error

    def run_pass(self, request: ChunkedPass, on_chunk: Callable[[ChunkDone], None]) -> None:
        """Run the missing chunks on an actor pool, then reduce them here in chunk order.

        Raises:
            StepError: a chunk failed; finished chunks are kept.
        """
        gpus = self.resources.gpus_of_teacher
        # Actors without room on any node would only start when the others have finished.
        workers = max(1, min(self.resources.score_workers, self.capacity().workers(1, gpus)))
        try:
            missing = request.missing(self.store)
            if missing:
                run_chunks_on_ray(
                    request,
                    self.store.uri,
                    missing,
                    workers,
                    gpus,
                    on_chunk,
                    spread=self.resources.spreads_teacher,
                )
            request.publish(self.store)
        except Exception as error:
            raise failure_of(error) from error


class _Cancelled(BaseException):
    """The work was cancelled; no further event is reported."""


class _Background(threading.Thread):
    """A thread in the driver that waits for one task or one pass."""

    def __init__(self, executor: RayExecutor, work: StepWork | PassWork, on_event: OnEvent) -> None:
        super().__init__(name=f"{work.steps[0].kind} {work.steps[0].hash[:12]}", daemon=True)
        self._executor, self._work, self._on_event = executor, work, on_event
        self._cancelled = threading.Event()
        self._task: Any = None

    def run(self) -> None:
        """Run the work to its end and report the outcome."""
        failure = None
        try:
            if isinstance(self._work, StepWork):
                self._run_task(self._work)
            else:
                self._run_pass(self._work)
        except _Cancelled:
            return
        except StepError as error:
            failure = error
        if not self._cancelled.is_set():
            self._on_event(Ended(self._work, failure))

    def cancel(self) -> None:
        """Stop a task immediately, a pass after its next chunk."""
        self._cancelled.set()
        if self._task is not None:
            with suppress(Exception):  # the cluster may be gone
                ray.cancel(self._task, force=True)

    def _run_task(self, work: StepWork) -> None:
        self._on_event(Started(work))
        self._executor.run_task(
            work.step,
            lambda progress: self._report(Advanced(work, [progress])),
            lambda task: setattr(self, "_task", task),
        )

    def _run_pass(self, work: PassWork) -> None:
        total = len(work.request.missing(self._executor.store))
        self._report(Started(work, total))
        self._executor.run_pass(work.request, ChunkCount(work, total, self._report))

    def _report(self, event: Started | Advanced) -> None:
        if self._cancelled.is_set():
            raise _Cancelled
        self._on_event(event)
