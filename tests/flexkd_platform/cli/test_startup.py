"""What commands import: those that run nothing must not wait for what runs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..tiny_jobs import spec_json

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
        "list losses",
        "list tasks",
        "list selectors",
        "list models",
        "schema",
        "list nothing",
        "unknown",
    ],
)
def test_a_command_that_runs_nothing_imports_nothing_heavy(command: str) -> None:
    argv = [sys.executable, "-c", PROGRAM, *command.split()]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_validate_imports_neither_torch_nor_transformers_once_a_model_is_known(
    material: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text(json.dumps(spec_json(material)))
    arguments = ["validate", str(spec), "--storage", str(tmp_path / "storage")]
    environment = os.environ | {"FLEXKD_CACHE": str(tmp_path / "cache")}
    imported = []
    for _ in range(2):
        argv = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
        assert "2 trials" in done.stdout
        imported.append(set(ast.literal_eval(done.stderr.splitlines()[-1])))
    assert imported[0] >= {"torch", "transformers"}
    assert imported[1] <= {"numpy", "pyarrow", "pandas"}, "pyarrow imports pandas"


def test_a_finished_job_is_run_again_without_torch(material: Path, tmp_path: Path) -> None:
    """Every step is published, and nothing has to be computed."""
    spec = tmp_path / "job.yaml"
    spec.write_text(json.dumps(spec_json(material)))
    arguments = ["run", str(spec), "--storage", str(tmp_path / "storage"), "--address", "none"]
    environment = os.environ | {"FLEXKD_CACHE": str(tmp_path / "cache")}
    imported = []
    for _ in range(2):
        argv = [sys.executable, "-c", PROGRAM, *arguments, "--tracking-uri", "none"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
        imported.append(set(ast.literal_eval(done.stderr.splitlines()[-1])))
    assert imported[0] >= {"torch", "transformers"}
    assert imported[1] <= {"numpy", "pyarrow", "pandas"}, "pyarrow and plotly import pandas"


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
