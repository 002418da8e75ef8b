"""A worker of a gloo process group, as a process of its own: trains the trials it is given.

python group_of.py RANK SIZE FOLDER: FOLDER holds `work.pickle`, a list of (trials, store's URI,
resources), and becomes the meeting place.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__)
WAIT = timedelta(seconds=600)


def train_in_group(size: int, work: Sequence[Any], folder: Path) -> None:
    """Train on `size` processes; raises with their output where one fails."""
    folder.mkdir(parents=True)
    (folder / "work.pickle").write_bytes(pickle.dumps(list(work)))
    logs = [folder / f"worker-{rank}.log" for rank in range(size)]
    processes = []
    for rank, log in enumerate(logs):
        with log.open("wb") as stream:
            argv = [sys.executable, str(HERE), str(rank), str(size), str(folder)]
            processes.append(subprocess.Popen(argv, stdout=stream, stderr=subprocess.STDOUT))
    codes = [process.wait() for process in processes]
    told = "\n".join(log.read_text()[-2000:] for log in logs)
    assert codes == [0] * size, told


def main(rank: int, size: int, folder: Path) -> None:
    import torch
    import torch.distributed as dist

    from flexkd_platform.steps import run_trial
    from flexkd_platform.store import open_store
    from flexkd_platform.training import GroupWorker

    torch.set_num_threads(1)
    place = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=size, timeout=WAIT)
    for trials, uri, resources in pickle.loads((folder / "work.pickle").read_bytes()):
        worker = GroupWorker(
            torch.device("cpu"),
            parallel=resources.parallel,
            shard_teacher=resources.teacher_placement == "sharded",
        )
        for trial in trials:
            list(run_trial(trial.distill, trial.evaluate, open_store(uri), worker, resources))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
