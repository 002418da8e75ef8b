"""Training: the loop that teachers and students share, its loss, its workers and its checkpoints.

The package does not depend on Ray or MLflow. The loop takes a worker as an argument.
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
