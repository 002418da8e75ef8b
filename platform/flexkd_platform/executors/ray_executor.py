"""Everything on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ray

from ..cluster.capacity import Capacity
from ..cluster.connect import cluster_capacity, join_cluster
from ..cluster.node_checks import storage_problems
from ..plan import Step, Trial
from ..spec import Problem, Resources
from ..steps import ChunkDone, ChunkedPass, run_step
from ..store import Store, open_store
from ..training import Progress
from .early_stopping import Halving, Scores
from .executor import Executor, StepError, TrialListener
from .inprocess import failure_of
from .ray_chunks import run_chunks_on_ray
from .ray_trials import run_trials_on_ray

HEAVY = frozenset({"teacher", "warm_up", "evaluate"})
"""Kinds of shared steps that run as a task; the others take less time than a worker's start."""

LOST_WORKER_RETRIES = 2
"""How often a task is started again whose process was lost."""


class RayExecutor(Executor):
    """The teacher as a task, scoring on Ray Data, the sweep on Ray Tune."""

    name = "ray"

    def __init__(
        self, store: Store, resources: Resources, address: str, log_file: Path | None = None
    ) -> None:
        super().__init__(store, resources)
        self._leave = join_cluster(address, log_file)
        self._attempts = 0

    def capacity(self) -> Capacity:
        """The cluster's CPUs and GPUs."""
        return cluster_capacity()

    def problems(self) -> list[Problem]:
        """Requests that can never be placed, and nodes that cannot use the storage."""
        return [*super().problems(), *storage_problems(self.store)]

    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run a step that trains or measures a model as one task, whose progress streams back."""
        try:
            if step.kind in HEAVY:
                self._run_task(step, on_progress)
            else:
                for progress in run_step(step, self.store, threads=1):
                    on_progress(progress)
        except StepError:
            raise
        except Exception as error:
            raise failure_of(error) from error

    def _run_task(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        threads = self.resources.teacher_cpus
        remote = ray.remote(_run_step).options(
            num_cpus=threads,
            num_gpus=self.resources.gpus_of_teacher,
            num_returns="streaming",
            max_retries=LOST_WORKER_RETRIES,
        )
        for reference in remote.remote(step, self.store.uri, self.resources):
            event = ray.get(reference)
            if isinstance(event, StepError):
                raise event
            on_progress(event)

    def run_pass(self, request: ChunkedPass, on_chunk: Callable[[ChunkDone], None]) -> None:
        """Run the missing chunks on an actor pool, then reduce them here in chunk order."""
        gpus = self.resources.gpus_of_teacher
        # Actors without a place would wait, and start when the others have done their work.
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
        except StepError:
            raise
        except Exception as error:
            raise failure_of(error) from error

    def trials(
        self,
        trials: Sequence[Trial],
        listener: TrialListener,
        halving: Halving | None = None,
        scores: Scores | None = None,
    ) -> None:
        """One Tune experiment; what it keeps for itself is of no use to a later run."""
        self._attempts += 1
        name = f"sweep-{trials[0].hash[:12]}-{ray.get_runtime_context().get_job_id()}"
        run_trials_on_ray(
            trials,
            listener,
            self.store,
            self.resources,
            self.concurrent_trials(),
            f"{name}-{self._attempts}",
            halving,
            scores or {},
        )

    def close(self) -> None:
        """Stop the cluster if it was started here, leave it otherwise."""
        self._leave()


def _run_step(step: Step, uri: str, resources: Resources) -> Iterator[Progress | StepError]:
    try:
        yield from run_step(
            step,
            open_store(uri),
            resources.teacher_cpus,
            resources.checkpoint_steps,
            spread_teacher=resources.spreads_teacher,
        )
    except Exception as error:  # a task's error loses its type and message on the way
        yield failure_of(error)
