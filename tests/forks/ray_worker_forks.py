"""Ray workers as forks of one process that has imported torch and transformers.

Importing them takes 5 to 9 s of CPU per process, and the tests start about 150 workers on 2 cores.
Ray starts a worker with the `py_executable` of its runtime environment: this file and a socket.
It sends arguments, environment, folder and output to the server at the socket, which forks. The
child runs Ray's program for workers as Python would, and finds the libraries imported.

The server imports neither this project, so that a worker has the code that it was sent, nor Ray,
which reads its environment when it is imported. Tests of a Ray of their own, of a cluster with a
token and of the images use workers as Ray starts them.

    python ray_worker_forks.py serve SOCKET
    python -S ray_worker_forks.py SOCKET default_worker.py ARGUMENTS

Ray calls `use_forks` in every driver whose environment has the variables of `environment`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from typing import Any

SOCKET = "RAY_WORKER_FORKS"
"""The environment variable with the socket's path."""


PATIENCE = 120.0
"""Seconds in which a server is awaited: it imports first."""


def environment(path: str, folder: str) -> dict[str, str]:
    """The variables of a driver whose workers are forked, and of its cluster.

    path: of the server's socket. folder: that of this file, as processes of the cluster see it.
    """
    return {
        "RAY_RUNTIME_ENV_HOOK": "ray_worker_forks.use_forks",
        SOCKET: path,
        "PYTHONPATH": folder,
        # Workers that Ray starts before any is needed would not be forks, and be of no use.
        "RAY_prestart_worker_first_driver": "0",
    }


def use_forks(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """The runtime environment with workers that are forked."""
    command = f"{sys.executable} -S {__file__} {os.environ[SOCKET]}"
    return {**(runtime_env or {}), "py_executable": command}


# --- the client, which stands for the worker until that ends -----------------------------------


def start(path: str, arguments: list[str]) -> int:
    """Have a child of the server run the arguments; returns its exit code."""
    request = json.dumps([arguments, dict(os.environ), os.getcwd()]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        _connect(server, path)
        socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(request)
        code = server.recv(1)
    return code[0] if code else 1


def _connect(server: socket.socket, path: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return server.connect(path)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


# --- the server ----------------------------------------------------------------------------------


def serve(path: str) -> None:
    """Fork for every request, until the process is killed."""
    import gc
    import selectors
    import signal

    gc.disable()
    _import_libraries()
    gc.freeze()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.new")
    listening.listen(64)
    os.rename(f"{path}.new", path)  # whoever finds it can connect
    with selectors.DefaultSelector() as events:
        events.register(listening, selectors.EVENT_READ)
        events.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.fileobj is listening:
                    client, _ = listening.accept()
                    child = _fork(client, [listening, woken, wake, events, *children.values()])
                    if child:
                        children[child] = client
                        events.register(client, selectors.EVENT_READ, child)
                elif key.fileobj == woken:
                    os.read(woken, 4096)
                    for child, code in _ended():
                        client = children.pop(child)
                        if client in events.get_map():
                            events.unregister(client)
                        _answer(client, code)
                elif key.data in children:  # the client was killed, and means its worker
                    events.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)


def _import_libraries() -> None:
    from importlib import import_module

    for module in (
        "torch",
        "torch.distributed",
        "transformers",
        "transformers.models.bart.modeling_bart",
        "transformers.models.bert.modeling_bert",
        "transformers.models.gpt2.modeling_gpt2",
        "transformers.models.t5.modeling_t5",
        "pyarrow.parquet",
        "pandas",
        "pydantic",
        "safetensors.torch",
    ):
        import_module(module)


def _fork(client: socket.socket, ours: list[Any]) -> int:
    """The child's process id; the child itself does not return."""
    size, descriptors, _, _ = socket.recv_fds(client, 4, 3)
    content = b""
    while len(content) < int.from_bytes(size, "big"):
        content += client.recv(65536)
    child = os.fork()
    if child:
        for descriptor in descriptors:
            os.close(descriptor)
        return child
    code = 1
    try:
        # As each worker of Ray's: Ray ends a worker with its group, which must not be the tests'.
        os.setpgid(0, 0)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        client.close()
        for each in ours:
            os.close(each) if isinstance(each, int) else each.close()
        code = _run(*json.loads(content))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str], environment: dict[str, str], folder: str) -> int:
    """Run a program as `python PROGRAM ARGUMENTS` does."""
    import gc
    import random
    import runpy
    import signal
    import traceback

    import numpy as np

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.enable()
    random.seed()
    np.random.seed()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [os.path.dirname(arguments[0]), *filter(None, places)]
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _ended() -> list[tuple[int, int]]:
    """The children that have ended, with their exit codes."""
    found = []
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not child:
            return found
        code = os.waitstatus_to_exitcode(status)
        found.append((child, code if code >= 0 else 128 - code))


def _answer(client: socket.socket, code: int) -> None:
    with contextlib.suppress(OSError):
        client.sendall(bytes([code & 255]))
    client.close()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        os._exit(start(sys.argv[1], sys.argv[2:]))
