"""The entrypoint: what it refuses in one line, and that it becomes what it starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import DOCKER

ENTRYPOINT = str(DOCKER / "entrypoint.sh")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH whose `ray` and `mlflow` say what they were given, and their process id."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ray", "mlflow"):
        program = folder / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*"\necho "mode=${{RAY_AUTH_MODE:-}} pid=$$ '
            'pgpassword=${PGPASSWORD:-}"\n'
        )
        program.chmod(0o755)
    return folder


def run(
    programs: Path, *arguments: str, **environment: str
) -> tuple[int, list[str], list[str], int]:
    """Exit code, lines of stdout and of stderr, and the entrypoint's process id."""
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(programs), **environment}
    process = subprocess.Popen(
        [ENTRYPOINT, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=30)
    return process.returncode, out.splitlines(), err.splitlines(), process.pid


def secret(folder: Path, text: str = "secret", mode: int = 0o400) -> str:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ((), {}, "say what to run"),
        (("head",), {}, "no token"),
        (("head",), {"RAY_AUTH_MODE": "none"}, "it may be token or disabled"),
        (("head",), {"RAY_AUTH_TOKEN_PATH": "/nowhere"}, "/nowhere, which is not there"),
        (("worker",), {"RAY_AUTH_TOKEN": "t"}, "set RAY_HEAD_ADDRESS"),
        (("worker",), {"RAY_AUTH_TOKEN": "t", "RAY_HEAD_ADDRESS": "head"}, "head:6379"),
        (
            ("worker",),
            {"RAY_AUTH_TOKEN": "t", "RAY_HEAD_ADDRESS": "ray://head:10001"},
            "without a scheme",
        ),
        (("worker",), {"RAY_HEAD_ADDRESS": "head:6379"}, "no token"),
        (("mlflow",), {}, "MLFLOW_BACKEND_STORE_URI"),
        (
            ("mlflow",),
            {"MLFLOW_BACKEND_STORE_URI": "postgresql://db"},
            "MLFLOW_ARTIFACTS_DESTINATION",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    programs: Path, arguments: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    code, out, err, _ = run(programs, *arguments, **environment)
    assert (code, out, len(err)) == (2, [], 1)
    assert told in err[0]


@pytest.mark.parametrize("mode", [0o444, 0o404, 0o440, 0o644, 0o666])
def test_a_token_that_others_can_read_is_refused(programs: Path, tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path, mode=mode)
    code, _, err, _ = run(programs, "head", RAY_AUTH_TOKEN_PATH=path)
    assert code == 2
    assert err == [
        f"flexkd: others can read {path}, which RAY_AUTH_TOKEN_PATH names; chmod 0400 {path}"
    ]


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_token_of_ones_own_is_taken(programs: Path, tmp_path: Path, mode: int) -> None:
    code, out, err, _ = run(programs, "head", RAY_AUTH_TOKEN_PATH=secret(tmp_path, mode=mode))
    assert (code, err) == (0, [])
    assert "mode=token" in out[1]


def test_an_empty_token_is_refused(programs: Path, tmp_path: Path) -> None:
    path = secret(tmp_path, text="")
    code, _, err, _ = run(programs, "head", RAY_AUTH_TOKEN_PATH=path)
    assert (code, len(err)) == (2, 1)
    assert "empty" in err[0]


def test_the_usual_place_of_a_token_is_looked_at(programs: Path) -> None:
    place = programs / ".ray"
    place.mkdir()
    (place / "auth_token").write_text("secret")
    (place / "auth_token").chmod(0o644)
    assert run(programs, "head")[0] == 2
    (place / "auth_token").chmod(0o600)
    assert run(programs, "head")[0] == 0


def test_an_open_cluster_has_to_be_asked_for_and_is_warned_of(programs: Path) -> None:
    code, out, err, _ = run(programs, "head", RAY_AUTH_MODE="disabled")
    assert (code, len(err)) == (0, 1)
    assert "can run code" in err[0]
    assert "mode=disabled" in out[1]


def test_the_shell_becomes_what_it_starts_so_that_signals_arrive(programs: Path) -> None:
    _, out, _, pid = run(programs, "head", RAY_AUTH_TOKEN="t")
    assert f"pid={pid} " in out[1]
    code, out, _, pid = run(programs, "sh", "-c", "echo $$; exit 7")
    assert (code, out) == (7, [str(pid)])


def test_head_and_worker_start_ray_with_fixed_ports_and_ones_own_options(programs: Path) -> None:
    _, out, _, _ = run(programs, "head", "--num-gpus", "1", RAY_AUTH_TOKEN="t")
    assert out[0].startswith("ray start --head --block")
    for option in ("--port 6379", "--dashboard-port 8265", "--metrics-export-port 8080"):
        assert option in out[0]
    assert out[0].endswith("--num-cpus 0 --num-gpus 1")
    _, out, _, _ = run(programs, "worker", RAY_AUTH_TOKEN="t", RAY_HEAD_ADDRESS="head:6379")
    assert "--address head:6379" in out[0]
    assert "--head" not in out[0]


def test_the_databases_password_goes_by_the_environment(programs: Path, tmp_path: Path) -> None:
    environment = {
        "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow@db/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow",
        "PGPASSWORD_FILE": secret(tmp_path, "hunter2\n"),
    }
    code, out, err, _ = run(programs, "mlflow", **environment)
    assert (code, err) == (0, [])
    assert out[0].startswith("mlflow server --host 0.0.0.0 --port 5000 --serve-artifacts")
    assert "db" not in out[0], "neither the URI nor the password is an option"
    assert "pgpassword=hunter2" in out[1]
