"""Join a Ray cluster, or start one on this machine, with Ray's output sent to a log file."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError
from ray.tune.execution import class_cache

from ..spec import Problem, SpecError
from .auth_token import PLACES
from .capacity import Capacity, Node
from .code_package import packed_code
from .head_probe import IN_A_JOB, no_cluster, prepare_to_join
from .idle_threads import idle_threads

NOISY = ("ray", "ray.data", "ray.tune", "ray.train", "ray.air")
"""Loggers that go to the log file instead of the terminal."""

LOG_FORMAT = "%(asctime)s %(name)s %(levelname)s %(message)s"


def join_cluster(address: str, log_file: Path | None) -> Callable[[], None]:
    """Connect this process to a cluster; `local` starts one on this machine.

    log_file: receives Ray's own messages; if None, they are dropped.

    Returns:
        A function that disconnects, and stops the cluster if it was started here. A process that
        was connected before stays connected.

    Raises:
        SpecError: there is no cluster at the address, or it rejects the local auth token.
    """
    quiet_ray(log_file)
    _set_environment()
    _keep_secrets_where_they_are()
    if ray.is_initialized():
        return lambda: None
    if address == "local":
        _use_private_token()
    else:
        prepare_to_join(address)
    leave = contextlib.ExitStack()
    leave.enter_context(_native_stderr(log_file))
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with _what_ray_needs(address) as needed:
            ray.init(
                address=address,
                log_to_driver=False,
                # Ray has to configure its logging: otherwise it removes the existing handler.
                logging_level=logging.INFO,
                logging_format=LOG_FORMAT,
                **needed,
            )
    # Ray raises SystemExit if the service that answers is not Ray.
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        leave.close()
        # A version mismatch is a message of several lines.
        reason = (
            " ".join(str(error).split())[:300]
            if isinstance(error, Exception)
            else "the service is not Ray"
        )
        raise no_cluster(address, reason) from None
    except AuthenticationError as error:
        leave.close()
        reason = " ".join(error.message.split())[:300]
        raise SpecError([Problem("--address", f"Ray: {reason}", PLACES)]) from None
    except BaseException:
        leave.close()  # the error is printed to the terminal
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            # Ray installs a SIGTERM handler that aborts; restore the previous handler.
            signal.signal(signal.SIGTERM, on_term)
    leave.callback(ray.shutdown)
    return leave.close


def quiet_ray(log_file: Path | None) -> None:
    """Send Ray's messages to the log file instead of the terminal."""
    warnings.filterwarnings("ignore", module="ray")
    handler: logging.Handler = logging.NullHandler()
    if log_file is not None:
        handler = logging.FileHandler(log_file)
        handler.setLevel(logging.INFO)  # Ray Data writes megabytes at DEBUG
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
    for name in NOISY:
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.propagate = False
    # The driver prints the cluster's messages about lost workers, bypassing its loggers.
    ray._private.worker.print_to_stdstream = _log_message


def _log_message(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    logging.getLogger("ray").info("%s: %s", data["pid"], "\n".join(data["lines"]))


def cluster_capacity() -> Capacity:
    """The live nodes, the largest first."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [Node(each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in found]
    return Capacity(tuple(sorted(nodes, key=lambda node: (-node.cpus, -node.gpus))))


def _set_environment() -> None:
    # Without these, Tune and Data print their own progress over ours.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # We handle Ctrl-C ourselves: Tune would wait for the running trials.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"


@contextlib.contextmanager
def _what_ray_needs(address: str) -> Iterator[dict[str, Any]]:
    """Arguments of `ray.init`. A joined cluster is sent our code: its nodes may not have it."""
    if address == "local":
        yield {"include_dashboard": False}
    elif IN_A_JOB in os.environ:
        yield {}
    else:
        with packed_code() as packages:
            modules = [str(package) for package in packages]
            yield {"runtime_env": {"py_modules": modules, "env_vars": idle_threads()}}


def _keep_secrets_where_they_are() -> None:
    """Prevent Tune from copying the driver's AWS keys to the runtime environment of trials.

    Ray writes the runtime environment to logs and command lines. The nodes of a cluster have their
    own keys, and workers of a local one inherit the driver's environment.
    """
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    )


def _use_private_token() -> None:
    """Protect a local cluster with a token that only we can read; Ray's own is world-readable."""
    given = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if given or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        # Other users may have read it, and other clusters may use it, so it is not changed.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def _native_stderr(log_file: Path | None) -> Iterator[None]:
    """Redirect what Ray's compiled core writes to file descriptor 2 to the log file.

    The core reports errors that it recovers from there, such as a lost worker, bypassing all
    loggers. Python's own stderr is not redirected.
    """
    terminal = os.dup(2)
    before = sys.stderr
    target = os.open(log_file or os.devnull, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
    before.flush()
    os.dup2(target, 2)
    os.close(target)
    if before is sys.__stderr__:  # not if it has been replaced
        sys.stderr = open(os.dup(terminal), "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    ours = sys.stderr
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        if ours is not before:
            ours.close()
            sys.stderr = before
