"""A training that was cut off goes on from its last whole checkpoint, in any world."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import fs

from flexkd_platform.store import Store, open_store
from flexkd_platform.training.checkpoint import Checkpoints, put_weights
from flexkd_platform.training.worker import SoloWorker

from . import checkpoint_worlds
from .checkpoint_worlds import (
    NOTES,
    PAIRS,
    STEP,
    Training,
    differences,
    newest_files,
)

pytestmark = pytest.mark.slow

PATIENCE = 300.0
"""Seconds after which processes are taken to hang; nothing waits that long."""

SCRIPT = checkpoint_worlds.__file__


@pytest.fixture(params=["disk", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store; the object store is fsspec's memory."""
    if request.param == "disk":
        return open_store(str(tmp_path / "störage"))
    root = f"bucket-{uuid.uuid4().hex}"
    handler = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    return Store(handler, root, f"memory://{root}")


@pytest.fixture
def checkpoints(store: Store) -> Checkpoints:
    return Checkpoints(STEP, store, SoloWorker())


# --- worlds --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What processes saw that saved in one world and went on in another."""
    folder = tmp_path_factory.mktemp("worlds")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    result: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return result


@pytest.mark.parametrize(("saved", "loaded"), PAIRS, ids=lambda world: f"{world[0]}{world[1]}")
def test_one_world_goes_on_from_another(
    found: dict[str, Any], saved: tuple[str, int], loaded: tuple[str, int]
) -> None:
    """Weights, buffers, the optimiser's state and settings, and what was saved besides."""
    pair = found[f"{loaded[0]} x {loaded[1]} from {saved[0]} x {saved[1]}"]
    assert pair["different"] == []
    assert pair["different best"] == []
    assert pair["different further"] == []
    assert (pair["number"], pair["notes"]) == (3, NOTES)
    assert pair["files"] == saved[1], "every worker writes its share"
    assert not pair["same after"], "it can tell"


def test_all_workers_pass_over_what_is_damaged_for_one(found: dict[str, Any]) -> None:
    assert found["damaged"] == {"number": 2, "different": []}


# --- one worker ----------------------------------------------------------------------------------


def test_going_on_is_as_if_it_had_never_been_cut_off(checkpoints: Checkpoints) -> None:
    straight = Training()
    straight.run(0, 6)
    first = Training()
    first.run(0, 4)
    first.save(checkpoints, 4)
    first.run(4, 5)  # lost
    second = Training(seed=9)
    loaded = second.load(checkpoints)
    assert loaded is not None
    second.run(loaded.number, 6)
    assert differences(straight.state(), second.state()) == []


def test_the_best_weights_come_back(checkpoints: Checkpoints) -> None:
    training = Training()
    best = training.state()
    training.save(checkpoints, 0)
    other = Training(seed=9)
    loaded = other.load(checkpoints)
    assert loaded is not None
    other.run(0, 2)
    put_weights(other.wrapped, loaded.more["best"])
    weights = other.network.state_dict()
    assert differences({name: best[name] for name in weights}, dict(weights)) == []


def test_nothing_to_go_on_from_changes_nothing(checkpoints: Checkpoints) -> None:
    straight, asked = Training(), Training()
    assert asked.load(checkpoints) is None
    straight.run(0, 2)
    asked.run(0, 2)
    assert differences(straight.state(), asked.state()) == []


def test_the_last_two_are_kept_and_dropped_at_the_end(
    store: Store, checkpoints: Checkpoints
) -> None:
    training = Training()
    for number in (1, 2, 3, 3):
        training.run(number - 1, number)
        training.save(checkpoints, number)
    names = sorted(store.parts(STEP))
    assert [name for name in names if name.endswith(".json")] == [
        "training-00000002.json",
        "training-00000003.json",
    ]
    assert len(names) == 4, "what a second attempt replaced is gone"
    checkpoints.drop()
    assert store.parts(STEP) == set()
    assert Training().load(checkpoints) is None


def test_other_parts_of_the_step_are_left_alone(store: Store, checkpoints: Checkpoints) -> None:
    store.write_part(STEP, "training-notes", b"")
    store.write_part(STEP, "chunk-0", b"")
    training = Training()
    for number in (1, 2, 3):
        training.save(checkpoints, number)
    assert {"training-notes", "chunk-0"} < store.parts(STEP)


def test_a_later_one_of_an_attempt_that_is_replaced_is_forgotten(
    store: Store, checkpoints: Checkpoints
) -> None:
    training = Training()
    for number in (1, 5, 2):
        training.save(checkpoints, number)
    assert {n for n in store.parts(STEP) if n.endswith(".json")} == {
        "training-00000001.json",
        "training-00000002.json",
    }


# --- bad days ------------------------------------------------------------------------------------


def damage_marker(store: Store) -> str:
    content = store.read_part(STEP, "training-00000004.json")
    store.write_part(STEP, "training-00000004.json", content[: len(content) // 2])
    return "its marker cannot be read"


def other_format(store: Store) -> str:
    marker = json.loads(store.read_part(STEP, "training-00000004.json"))
    store.write_part(STEP, "training-00000004.json", json.dumps(marker | {"format": 99}).encode())
    return "it has format 99, not 1"


def change_a_bit(store: Store) -> str:
    (file,) = newest_files(store)
    content = bytearray(store.read_part(STEP, file))
    content[-1] ^= 1
    store.write_part(STEP, file, bytes(content))
    return f"{file} does not match its marker"


def lose_a_file(store: Store) -> str:
    (file,) = newest_files(store)
    store.drop_part(STEP, file)
    return f"{file} is missing"


def of_another_model(store: Store) -> str:
    name = "training-00000004.json"
    marker = json.loads(store.read_part(STEP, name))
    marker["tensors"]["model.narrow.weight"]["size"] = [2, 6]
    store.write_part(STEP, name, json.dumps(marker).encode())
    return "it has no model.narrow.weight of shape (1, 6)"


@pytest.mark.parametrize(
    "harm", [damage_marker, other_format, change_a_bit, lose_a_file, of_another_model]
)
@pytest.mark.parametrize("before", [True, False], ids=["one before", "the only one"])
def test_what_is_damaged_is_passed_over_and_said(
    store: Store,
    checkpoints: Checkpoints,
    harm: Any,
    before: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    training = Training()
    training.run(0, 2)
    if before:
        training.save(checkpoints, 2)
    kept = training.state()
    training.run(2, 4)
    training.save(checkpoints, 4)
    reason = harm(store)
    resumed = Training(seed=9)
    with caplog.at_level(logging.WARNING):
        loaded = resumed.load(checkpoints)
    (said,) = (r.getMessage() for r in caplog.records if r.name.startswith("flexkd"))
    place = f"training-00000004.json of distill {STEP.hash[:12]}"
    assert said.startswith(f"the checkpoint {place} is damaged and skipped: {reason}")
    if before:
        assert loaded is not None
        assert loaded.number == 2
        assert differences(kept, resumed.state()) == []
    else:
        assert loaded is None
        assert differences(Training(seed=9).state(), resumed.state()) == []


def test_a_store_that_fails_is_no_damage(
    store: Store, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To start anew because the network was away would throw hours away."""
    Training().save(checkpoints, 4)

    def fail(*arguments: Any) -> None:
        raise OSError("the network is away")

    monkeypatch.setattr(Store, "fetch_part", fail)
    with pytest.raises(OSError, match="the network is away"):
        Training().load(checkpoints)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from checkpoint_worlds import STEP, Training
from flexkd_platform.training.checkpoint import Checkpoints
from flexkd_platform.training.worker import SoloWorker
from flexkd_platform.store import Store, open_store

class Mortal(Store):
    def write_part(self, step, name, content):
        if name == "training-00000004.json":
            os.kill(os.getpid(), signal.SIGKILL)
        super().write_part(step, name, content)

found = open_store(sys.argv[1])
checkpoints = Checkpoints(STEP, Mortal(found.filesystem, found.root, found.uri), SoloWorker())
training = Training()
for number in (2, 4):
    training.run(number - 2, number)
    training.save(checkpoints, number)
"""


def test_one_that_was_killed_before_its_marker_is_none(tmp_path: Path) -> None:
    uri = str(tmp_path / "storage")
    command = [sys.executable, "-c", KILLED, uri, str(Path(SCRIPT).parent)]
    killed = subprocess.run(command, timeout=PATIENCE, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    store = open_store(uri)
    assert len(store.parts(STEP)) == 3, "a checkpoint, and the file of another"
    checkpoints = Checkpoints(STEP, store, SoloWorker())
    straight, resumed = Training(), Training(seed=9)
    loaded = resumed.load(checkpoints)
    assert loaded is not None
    assert loaded.number == 2
    straight.run(0, 4)
    resumed.run(2, 4)
    assert differences(straight.state(), resumed.state()) == []
    resumed.save(checkpoints, 4)
    assert len(store.parts(STEP)) == 4, "what was left of the killed one is gone"


def test_an_optimiser_that_has_begun_is_refused(checkpoints: Checkpoints) -> None:
    training = Training()
    training.run(0, 1)
    with pytest.raises(AssertionError, match="has done nothing yet"):
        training.load(checkpoints)


def test_no_pickle_is_kept(store: Store, checkpoints: Checkpoints) -> None:
    """What lies in a storage that many write to must not be able to run code."""
    Training().save(checkpoints, 1)
    assert {name.rpartition(".")[2] for name in store.parts(STEP)} == {"json", "safetensors"}
