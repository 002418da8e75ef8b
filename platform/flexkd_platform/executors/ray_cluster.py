"""Joining a Ray cluster, or starting one on this machine, without its noise."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import ray

from ..spec import Problem, SpecError
from .executor import Capacity

NOISY = ("ray", "ray.data", "ray.tune", "ray.train", "ray.air")
"""Loggers that go to the log file instead of the terminal."""


def join_cluster(address: str, log_file: Path | None) -> bool:
    """Connect this process to a cluster; `local` starts one on this machine.

    log_file: where Ray's own messages go; dropped when None.

    Returns:
        Whether the cluster was started here, so that leaving stops it.

    Raises:
        SpecError: there is no cluster at the address.
    """
    quiet_ray(log_file)
    if ray.is_initialized():
        return False
    # Without this, TuneReport and Data print their own progress over ours.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ctrl-C is ours: Tune would otherwise wait for the running trials.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
            **({"include_dashboard": False} if address == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise SpecError(
            [
                Problem(
                    "--address",
                    f"no Ray cluster can be joined at {address!r}: {first}",
                    "start one with `ray start --head`, or use --address local or none",
                )
            ]
        ) from None
    quiet_ray(log_file)
    return address == "local"


def quiet_ray(log_file: Path | None) -> None:
    """Send Ray's messages to the log file, and nothing of them to the terminal."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    handler: logging.Handler = logging.NullHandler()
    if log_file is not None:
        handler = logging.FileHandler(log_file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    for name in NOISY:
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.propagate = False


def cluster_capacity() -> Capacity:
    """CPUs and GPUs of the nodes that are alive."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [node.get("CPU", 0.0) for node in nodes]
    gpus = [node.get("GPU", 0.0) for node in nodes]
    return Capacity(max(cpus, default=0), max(gpus, default=0), sum(cpus), sum(gpus))
