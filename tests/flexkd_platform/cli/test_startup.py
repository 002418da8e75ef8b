"""What commands import: those that run nothing must not wait for what runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "transformers",
    "mlflow",
    "ray",
    "nltk",
    "optuna",
    "sklearn",
    "pandas",
    "datasets",
    "pyarrow",
    "numpy",
    "scipy",
)

PROGRAM = f"""\
import sys
from flexkd_platform.cli import main
try:
    main()
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "run --help",
        "jobs --help",
        "list methods",
        "list tasks",
        "schema",
        "list nothing",
        "unknown",
    ],
)
def test_a_command_that_runs_nothing_imports_nothing_heavy(command: str) -> None:
    argv = [sys.executable, "-c", PROGRAM, *command.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def complete(shell: str, line: str) -> str:
    """What the shell is offered after a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    environment = os.environ | words | {"_FLEXKD_COMPLETE": f"complete_{shell}"}
    argv = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['flexkd']; from flexkd_platform.cli import main; main()",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    return done.stdout


def test_the_shell_completes_commands_and_options() -> None:
    assert {"validate", "run", "submit"} <= set(complete("bash", "flexkd ").split())
    assert complete("bash", "flexkd val").split() == ["validate"]
    assert "--storage" in complete("bash", "flexkd run --st").split()
