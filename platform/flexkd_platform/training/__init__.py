"""Training: the loop that teachers and students share, its loss, its workers and its checkpoints.

The package knows nothing of Ray or MLflow. A worker is an argument of the loop.
"""

from .distributed_worker import GroupWorker
from .worker import SoloWorker, Worker, local_device, torch_threads

__all__ = [
    "GroupWorker",
    "SoloWorker",
    "Worker",
    "local_device",
    "torch_threads",
]
