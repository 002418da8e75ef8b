"""Runs of the command line, each in a process of its own, that need not import torch again.

One process imports what the commands need and forks for each of them. What a command registers or
changes ends with its process. Not for tests of what a command imports, nor for `--address local`:
Ray starts threads, which a fork loses.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class CommandServer:
    """A process that forks for each command."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, *arguments: str, cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `flexkd` with `arguments`; `environment` is added to that of the tests."""
        with tempfile.TemporaryDirectory() as folder:
            request = {
                "arguments": arguments,
                "cwd": str(cwd),
                "environment": environment,
                "folder": folder,
            }
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            out, err = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(["flexkd", *arguments], code, out, err)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="session")
def commands() -> Iterator[CommandServer]:
    """One server for all tests of a pytest process."""
    server = CommandServer()
    yield server
    server.close()


def _serve() -> None:
    for module in ("torch", "transformers.models.bert", "flexkd_platform.cli.app"):
        importlib.import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    """In the child: the command, with its output in files; never returns."""
    from flexkd_platform.cli.app import main

    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{request['folder']}/{name}", os.O_CREAT | os.O_WRONLY)
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    sys.path.extend(filter(None, request["environment"].get("PYTHONPATH", "").split(os.pathsep)))
    code = 1
    try:
        code = main(request["arguments"])
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
