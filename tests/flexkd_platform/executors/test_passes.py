"""Passes over the training examples: the same bytes wherever they run, whatever happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from flexkd_platform.executors import Executor, StepError
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.plan import Plan
from flexkd_platform.spec import Resources
from flexkd_platform.steps import ChunkDone, ChunkedPass, GenerationPass, ScoringPass, passes
from flexkd_platform.store import Store

from ..altered import republish
from ..tiny_jobs import PlanOf, SpecOf, StoreWith, writing_json

pytestmark = pytest.mark.ray

CHUNK = 4
CHUNKS = 30

PATIENCE = 60.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""


@pytest.fixture
def plan(spec_of: SpecOf, plan_of: PlanOf, material: Path) -> Plan:
    """A pass of thirty chunks that yields G and the teacher cache."""
    data = {"source": "files", "path": str(material / "data")}
    return plan_of(
        spec_of(
            task={"kind": "classification", "data": data, "max_length": 20},
            score={"chunk": CHUNK},
        )
    )


@pytest.fixture
def request_(plan: Plan) -> ScoringPass:
    (found,) = passes([step for step in plan.shared if step.kind in {"score", "cache"}])
    assert len(found.scores) == 1
    assert len(found.caches) == 1
    return found


@pytest.fixture
def reference(plan: Plan, request_: ScoringPass, store_with: StoreWith) -> dict[str, Any]:
    """What the pass yields in this process."""
    store = store_with(plan, scoring=False)
    InProcessExecutor(store, Resources()).run_pass(request_, lambda done: None)
    return outcome(request_, store)


def outcome(request: ChunkedPass, store: Store) -> dict[str, Any]:
    """The digests of every G, and the SHA-256 of every file of all artifacts."""
    found: dict[str, Any] = {}
    for step in request.steps:
        manifest = store.manifest(step)
        found |= {f"{step.hash}/{name}": digest for name, digest in manifest.files.items()}
        found[f"{step.hash} digest"] = manifest.summary.get("digest")
    return found


@pytest.fixture
def ray_executor(ray_cluster: None) -> Iterator[Any]:
    """`ray_executor(store, workers)` on the shared cluster."""
    from flexkd_platform.executors.ray_executor import RayExecutor

    def make(store: Store, workers: int) -> Executor:
        return RayExecutor(store, Resources(score_workers=workers), "local")

    return make


@pytest.mark.parametrize("task", ["instruction", "summarization"])
def test_what_a_teacher_of_text_yields_is_the_same_bytes_on_two_workers(
    task: str, spec_of: SpecOf, plan_of: PlanOf, store_with: StoreWith, ray_executor: Any
) -> None:
    """Responses that are drawn, of one task, and G and caches of two stacks, of the other."""
    methods = [{"kind": "seqkd", "decoding": "sample"}, {"kind": "flexkd", "beta": 1.0}]
    plan = plan_of(spec_of(**writing_json(task) | {"sweep": {"methods": methods, "seeds": [1]}}))
    request: ChunkedPass
    if task == "instruction":
        (request,) = (GenerationPass(step) for step in plan.shared if step.kind == "generate")
    else:
        (request,) = passes([step for step in plan.shared if step.kind in {"score", "cache"}])
    alone, together = (store_with(plan, scoring=False) for _ in range(2))
    InProcessExecutor(alone, Resources()).run_pass(request, lambda done: None)
    ray_executor(together, 2).run_pass(request, lambda done: None)
    assert outcome(request, together) == outcome(request, alone)


def test_g_and_cache_are_the_same_bytes_on_three_workers_of_which_one_is_killed(
    plan: Plan,
    request_: ScoringPass,
    reference: dict[str, Any],
    store_with: StoreWith,
    ray_executor: Any,
) -> None:
    store = store_with(plan, scoring=False)
    heard: list[ChunkDone] = []

    def kill_the_first(done: ChunkDone) -> None:
        if not heard:
            assert done.worker != os.getpid()
            os.kill(done.worker, signal.SIGKILL)
        heard.append(done)

    # More workers than there are CPUs: the pool has as many as there are.
    ray_executor(store, 8).run_pass(request_, kill_the_first)
    assert {done.chunk for done in heard} == set(range(CHUNKS))
    assert {done.examples for done in heard} == {CHUNK}
    # The three, and the one in place of the first.
    assert len({done.worker for done in heard}) <= 4
    assert outcome(request_, store) == reference


def test_a_slow_worker_keeps_one_part_at_most_from_the_others(
    ray_cluster: None, tmp_path: Path
) -> None:
    """One works on its part until all that the others can get are done."""
    from flexkd_platform.executors.ray_chunks import IN_FLIGHT, run_chunks_on_ray

    assert IN_FLIGHT == 2
    go_on = tmp_path / "go on"

    class Stuck:
        """A pass whose part 3 takes as long as the driver wants."""

        def open(self, store: Store, worker: int, *, spread: bool) -> Any:
            def work(part: int) -> ChunkDone:
                waited = 0.0
                while part == 3 and not go_on.exists():
                    time.sleep(0.05)
                    waited += 0.05
                    if waited > PATIENCE:
                        return ChunkDone(part, 0, worker, "the others did not get done")
                return ChunkDone(part, 1, worker)

            return work

    heard: list[ChunkDone] = []

    def tell(done: ChunkDone) -> None:
        heard.append(done)
        if len(heard) == CHUNKS - IN_FLIGHT:
            assert 3 not in {done.chunk for done in heard}
            go_on.touch()

    request: Any = Stuck()
    run_chunks_on_ray(request, str(tmp_path), list(range(CHUNKS)), 2, 0, tell)
    assert go_on.exists()
    assert sorted(done.chunk for done in heard) == list(range(CHUNKS))


def test_an_interrupted_pass_goes_on_where_it_was(
    plan: Plan,
    request_: ScoringPass,
    reference: dict[str, Any],
    store_with: StoreWith,
    ray_executor: Any,
) -> None:
    from flexkd_platform.executors.ray_chunks import IN_FLIGHT

    store = store_with(plan, scoring=False)

    def interrupt(done: ChunkDone) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ray_executor(store, 1).run_pass(request_, interrupt)
    missing = request_.missing(store)
    assert 0 < len(missing) < CHUNKS
    heard: list[ChunkDone] = []
    ray_executor(store, 2).run_pass(request_, heard.append)
    # The interrupted worker may still have written what it was at, and what it had been sent.
    again = sorted(done.chunk for done in heard)
    assert len(again) == len(set(again))
    assert set(again) <= set(missing)
    assert len(missing) - len(again) <= IN_FLIGHT
    assert outcome(request_, store) == reference


def test_a_nan_fails_the_pass_and_names_the_example(
    plan: Plan, request_: ScoringPass, store_with: StoreWith, ray_executor: Any
) -> None:
    store = store_with(plan, scoring=False)
    _break_teacher(request_, store)
    heard: list[ChunkDone] = []
    with pytest.raises(StepError, match=r"NaN or infinite on training example \d+ \('") as caught:
        ray_executor(store, 2).run_pass(request_, heard.append)
    assert "\n" not in str(caught.value)
    assert "ray" not in str(caught.value).lower()
    assert not store.has(request_.steps[0])
    assert _free_cpus() == 3, "the workers are gone"


def test_a_row_holds_nothing_that_grows_with_the_examples(
    plan: Plan, request_: ScoringPass, store_with: StoreWith
) -> None:
    from flexkd_platform.executors.ray_chunks import _ChunkActor

    store = store_with(plan, scoring=False)
    row = _ChunkActor(request_, store.uri)({"chunk": [3]})
    assert row == {
        "chunk": [3],
        "examples": [CHUNK],
        "worker": [os.getpid()],
        "error": [""],
        "detail": [""],
    }


def test_what_an_actor_cannot_do_is_told_in_a_line(
    plan: Plan, request_: ScoringPass, store_with: StoreWith
) -> None:
    from flexkd_platform.executors.ray_chunks import _ChunkActor

    store = store_with(plan, scoring=False)
    (store.folder(request_.teacher) / "model" / "config.json").unlink()
    row = _ChunkActor(request_, store.uri)({"chunk": [3]})
    assert row["error"][0]
    assert "\n" not in row["error"][0]
    assert "Traceback" in row["detail"][0]


def _break_teacher(request: ScoringPass, store: Store) -> None:
    file = store.folder(request.teacher) / "model" / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name][5] = float("nan")  # one word of the vocabulary
    save_file(weights, file, metadata={"format": "pt"})
    republish(store, request.teacher)


def _free_cpus() -> float:
    """The CPUs that nothing holds, once Ray has had time to notice that workers left."""
    import ray

    end = time.monotonic() + PATIENCE
    while ray.available_resources().get("CPU") != 3 and time.monotonic() < end:
        time.sleep(0.1)
    return float(ray.available_resources().get("CPU", 0))
