"""What is told of lost workers, and when a trial is given up: without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest

from flexkd_platform.executors import StepError
from flexkd_platform.executors.executor import LostWorkerError
from flexkd_platform.plan import Trial
from flexkd_platform.spec import Elastic, Resources
from flexkd_platform.tracking import Progress

from ..tiny_jobs import PlanOf, SpecOf

ray_train = pytest.importorskip("flexkd_platform.executors.ray_train")
train_run = pytest.importorskip("flexkd_platform.executors.train_run")

ELASTIC = Resources(trial_workers=Elastic(min=1, max=2), checkpoint_steps=3)


@pytest.fixture
def trial(spec_of: SpecOf, plan_of: PlanOf) -> Trial:
    """One of fine-tuning."""
    (trial,) = plan_of(spec_of(sweep={"methods": [{"kind": "ft"}], "seeds": [1]})).trials
    return trial


def progress(done: int) -> list[Progress]:
    return [Progress(done, 100)]


def test_losing_workers_again_and_again_at_one_place_is_given_up() -> None:
    patience = ray_train._Patience()
    patience.hear(ray_train.WorkerGroupStarted(2))
    patience.hear(progress(7))
    for _ in range(3):
        patience.hear(ray_train.WorkerGroupStarted(2))
        patience.hear(progress(4))  # told again: nothing new
        patience.hear(progress(7))
    with pytest.raises(StepError, match="lost in all 3 attempts"):
        patience.hear(ray_train.WorkerGroupStarted(1))


def test_what_the_last_worker_said_is_told_of_a_trial_that_is_given_up() -> None:
    """A cause that is taken for a loss must not be lost with it."""
    patience = ray_train._Patience()
    patience.hear(ray_train.WorkerGroupStarted(2))
    for said in ("first", "second", f"third\n\nand {'so on ' * 200}"):
        patience.hear(ray_train.PeerLost(StepError(said, f"Traceback of {said}")))
        if not said.startswith("third"):
            patience.hear(ray_train.WorkerGroupStarted(2))
    with pytest.raises(StepError) as caught:
        patience.hear(ray_train.WorkerGroupStarted(2))
    said = str(caught.value)
    assert "lost in all 3 attempts" in said
    assert "last error: third and so on" in said
    assert said.count("\n") == 0
    assert len(said) < 600
    assert caught.value.detail.startswith("Traceback of third")


def test_what_was_said_before_the_training_got_on_is_not_told_of_a_later_loss() -> None:
    patience = ray_train._Patience()
    patience.hear(ray_train.WorkerGroupStarted(2))
    patience.hear(ray_train.PeerLost(StepError("long ago")))
    patience.hear(progress(7))
    for _ in range(3):
        patience.hear(ray_train.WorkerGroupStarted(2))
    with pytest.raises(StepError) as caught:
        patience.hear(ray_train.WorkerGroupStarted(2))
    assert "long ago" not in str(caught.value)


PAIR = "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537]"
NCCL = "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.hpp:96,"

LOST = (
    # Gloo's own words, torch 2.13: a worker of three was killed, ended, and stopped to answer.
    f"{PAIR} Read error [127.0.0.1]:37254: Connection reset by peer. This is typically caused by",
    f"{PAIR} Connection closed by peer [127.0.0.1]:7320. This is typically caused by a remote",
    "[/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 3000ms for recv operation to",
    f"{PAIR} Application timeout caused pair closure",
    # NCCL's, from issues of NVIDIA/nccl: 2076, 1514, 795, 207.
    f"{NCCL} remote process exited or there was a network error, NCCL version 2.21.5\n"
    "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting "
    "prematurely.\nLast error:\nsocketProgressOpt: Call to recv failed",
    f"{NCCL} internal error, NCCL version 2.14.3\nncclInternalError: Internal check failed.\n"
    "Last error:\nNet : Connection closed by remote peer user<50260>",
    f"{NCCL} unhandled system error\nLast error:\nsocket send failed : Broken pipe",
    f"{NCCL} unhandled system error\nIt can be also caused by unexpected exit of a remote peer, "
    "you can check NCCL warnings for failure reason and see if there is connection closure by a "
    "peer.",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE) "
    "ran for 600026 milliseconds before timing out.",
    # The meeting place's, torch/csrc/distributed/c10d.
    "wait timeout after 300000ms, keys: /default_pg/0//cuda//0",
    "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or",
    "The client socket has timed out after 60000ms while trying to connect to (10.0.0.1, 29500).",
)

CAUSES = (
    f"{NCCL} invalid usage, NCCL version 2.27\nncclInvalidUsage: This usually reflects invalid "
    "usage of NCCL library.\nLast error:\nDuplicate GPU detected : rank 0 and rank 1 both on CUDA",
    f"{NCCL} unhandled cuda error\nncclUnhandledCudaError: Call to CUDA function failed.\n"
    "Last error:\nCuda failure 2 'out of memory'",
    f"{NCCL} invalid argument\nncclInvalidArgument: Invalid value for an argument.",
    "ProcessGroupGloo::allgather: invalid tensor size at index 1",
    "[enforce fail at /gloo/transport/tcp/pair.cc:446] op.preamble.length <= op.nbytes. 8 vs 4",
    "No backend type associated with device type cpu: nccl",
    "CUDA error: the launch timed out and was terminated",
)


@pytest.mark.parametrize(
    ("text", "lost"), [*((text, True) for text in LOST), *((text, False) for text in CAUSES)]
)
def test_what_says_that_a_peer_is_lost_and_what_is_a_cause(
    text: str, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is raised, so that Ray Train starts the group again; the second ends the trial."""
    told: list[Any] = []

    class Sink:
        def put(self, message: Any) -> None:
            told.append(message)

    def failing(*arguments: Any) -> Iterator[Progress]:
        raise RuntimeError(text)
        yield

    monkeypatch.setattr(train_run, "group_worker", lambda resources: MagicMock(rank=1))
    monkeypatch.setattr(train_run, "open_store", lambda uri: None)
    monkeypatch.setattr("flexkd_platform.steps.run_trial", failing)
    config = {"queue": Sink(), "trial": MagicMock(), "uri": "", "resources": ELASTIC}
    if lost:
        with pytest.raises(RuntimeError):
            train_run.loop(config)
        assert isinstance(told[0], ray_train.PeerLost)
        failure = told[0].failure
    else:
        train_run.loop(config)
        failure = told[0]
    assert isinstance(failure, StepError)
    assert text in str(failure)
    assert len(told) == 1


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("text", [LOST[0], CAUSES[0]])
def test_a_worker_whose_run_is_being_ended_does_not_fail(
    rank: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed one would be started again, with CPUs that nobody gives back: it cannot tell of its
    steps, nor of its errors, since the queue has ended."""
    from ray.exceptions import ActorDiedError

    class Gone:
        def put(self, message: Any) -> None:
            raise ActorDiedError

    def failing(*arguments: Any) -> Iterator[Progress]:
        yield Progress(1, 2, 3)
        raise RuntimeError(text)

    monkeypatch.setattr(train_run, "group_worker", lambda resources: MagicMock(rank=rank))
    monkeypatch.setattr(train_run, "open_store", lambda uri: None)
    monkeypatch.setattr("flexkd_platform.steps.run_trial", failing)
    train_run.loop({"queue": Gone(), "trial": MagicMock(), "uri": "", "resources": ELASTIC})


def test_workers_may_be_lost_often_as_long_as_the_training_gets_on() -> None:
    patience = ray_train._Patience()
    for done in range(1, 50):
        patience.hear(ray_train.WorkerGroupStarted(2))
        patience.hear(progress(done))


def test_to_lose_what_workers_tell_through_is_no_failure_of_the_trial(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is run again; and it is lost with the trial's own node alone, where it is."""
    from ray.exceptions import RayActorError

    options: dict[str, Any] = {}
    ended: list[bool] = []
    fake = MagicMock()
    fake.exceptions.RayActorError = RayActorError
    fake.get_runtime_context.return_value.get_node_id.return_value = "ab" * 28
    fake.wait.return_value = ([], [])

    class Lost:
        def __init__(self, actor_options: dict[str, Any]) -> None:
            options.update(actor_options)

        def get(self, timeout: float) -> Any:
            raise RayActorError

        def shutdown(self, force: bool) -> None:
            """As Ray's own: killing what is dead does nothing."""
            ended.append(force)

    monkeypatch.setattr(ray_train, "Queue", Lost)
    monkeypatch.setattr(ray_train, "ray", fake)
    with pytest.raises(LostWorkerError):
        list(ray_train.train_on_workers(trial, "", ELASTIC, "", MagicMock()))
    strategy = options["scheduling_strategy"]
    assert (strategy.node_id, strategy.soft) == ("ab" * 28, False)
    assert ended == [True], "and with it the run"


def test_being_made_larger_is_no_loss() -> None:
    patience = ray_train._Patience()
    for workers in range(1, 20):
        patience.hear(ray_train.WorkerGroupStarted(workers))


@pytest.mark.parametrize(
    ("resources", "workers", "each"),
    [
        (Resources(trial_workers=3), 3, {"CPU": 1}),
        (Resources(trial_workers=Elastic(min=1, max=4), trial_cpus=2), (1, 4), {"CPU": 2}),
        (Resources(trial_workers=2, trial_gpus=0.5), 2, {"CPU": 1, "GPU": 0.5}),
    ],
)
def test_what_ray_train_is_asked_for(
    resources: Resources, workers: int | tuple[int, int], each: dict[str, float]
) -> None:
    asked = train_run.scaling(resources)
    assert asked.num_workers == workers
    assert asked.resources_per_worker == each
    assert asked.use_gpu == ("GPU" in each)
