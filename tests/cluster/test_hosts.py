"""That hosts are hosts: they share a network, and neither disk, processes nor code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import network as network_module
from .network import CHECKOUT, Host, Network, wait_until
from .services import MakeHost


@pytest.fixture(scope="module")
def one(make_host: MakeHost) -> Host:
    return make_host("one")


@pytest.fixture(scope="module")
def other(make_host: MakeHost) -> Host:
    return make_host("other")


SERVE = """
import socket
server = socket.create_server(("0.0.0.0", 7000))
while True:
    connection, peer = server.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""
ASK = (
    "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), 5).recv(99).decode())"
)


def ask(address: str) -> str:
    argv = [sys.executable, "-c", ASK, address]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_hosts_reach_each_other_and_this_machine_reaches_them(
    network: Network, one: Host, other: Host
) -> None:
    server = one.start([sys.executable, "-c", SERVE])
    server.wait_until(lambda: ask(one.address) == network.address)
    seen = other.run([sys.executable, "-c", ASK, one.address]).stdout
    assert seen.strip() == other.address
    assert other.run([sys.executable, "-c", ASK, "127.0.0.1"], check=False).returncode
    server.stop()
    assert server.poll() is not None
    with pytest.raises(subprocess.CalledProcessError):
        ask(one.address)


def test_hosts_share_no_disk(one: Host, other: Host, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("here")
    one.run(["bash", "-c", "echo there > /tmp/file; echo there > /dev/shm/file; echo $HOME > ~/x"])
    assert one.path("/tmp/file").read_text() == "there\n"
    assert one.path("/tmp/home/x").read_text() == "/tmp/home\n"
    for path in ("/tmp/file", "/dev/shm/file", "/tmp/home/x"):
        assert not other.path(path).exists()
        assert not Path(path).exists()
    for host in (one, other):
        assert host.run(["test", "-e", str(tmp_path / "mine")], check=False).returncode
        for place in ("/", "/usr", "/var", "/etc"):
            refused = host.run(["touch", f"{place}/flexkd-probe"], check=False)
            assert "Read-only file system" in refused.stderr


def test_files_can_be_put_on_a_host(one: Host) -> None:
    path = one.write("/tmp/folder/secret", "größe", mode=0o600)
    assert one.run(["cat", path]).stdout == "größe"
    assert one.run(["stat", "--format=%a", path]).stdout == "600\n"


@pytest.mark.parametrize("package", ["flexkd_core", "flexkd_platform", "flexkd_dashboards"])
def test_our_code_is_not_on_a_host(one: Host, package: str) -> None:
    failed = one.python(f"import {package}", check=False)
    assert f"No module named '{package}'" in failed.stderr
    one.python("import pydantic")


def test_a_host_with_the_checkout_has_our_code(make_host: MakeHost) -> None:
    host = make_host("laptop", checkout=True)
    assert host.python("import flexkd_core; print(flexkd_core.__file__)").stdout.strip() == str(
        CHECKOUT / "flexkd_core" / "__init__.py"
    )
    host.stop()


@pytest.mark.parametrize("shown", [False, True])
def test_an_environment_inside_the_checkout_stays_in_sight(
    make_host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    """As on a clean clone, here even below /tmp, which is covered as well."""
    clone, packages = tmp_path / "clone", tmp_path / "clone" / ".venv"
    for file in (clone / "flexkd_core" / "__init__.py", packages / "pyvenv.cfg"):
        file.parent.mkdir(parents=True)
        file.write_text("here")
    monkeypatch.setattr(network_module, "CHECKOUT", clone)
    monkeypatch.setattr(sys, "prefix", str(packages))
    host = make_host("clone", checkout=shown)
    assert host.path(str(packages / "pyvenv.cfg")).read_text() == "here"
    assert host.path(str(clone / "flexkd_core")).exists() is shown
    host.stop()


def test_a_host_sees_its_own_processes_alone(one: Host) -> None:
    count = one.run(["bash", "-c", "ls -d /proc/[0-9]* | wc -l"]).stdout
    assert int(count) < 10
    assert one.run(["hostname"]).stdout == "one\n"
    assert one.python("import socket; print(socket.gethostbyname('one'))").stdout == (
        f"{one.address}\n"
    )


def test_nothing_of_the_environment_gets_in(one: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXKD_PROBE", "of this machine")
    assert "FLEXKD_PROBE" not in one.run(["env"]).stdout
    assert "FLEXKD_PROBE=given" in one.run(["env"], {"FLEXKD_PROBE": "given"}).stdout


def test_a_failing_command_shows_what_it_said(one: Host) -> None:
    with pytest.raises(AssertionError, match=r"(?s)on one: 3\n.*the reason"):
        one.run(["bash", "-c", "echo the reason >&2; exit 3"])
    ended = one.start(["bash", "-c", "echo the reason; exit 3"])
    with pytest.raises(AssertionError, match=r"(?s)waited in vain .* log ends:\nthe reason"):
        ended.wait_until(lambda: False)


def test_a_host_that_stops_takes_daemons_along(make_host: MakeHost) -> None:
    host = make_host("doomed")
    host.run(["bash", "-c", "setsid sleep 4321 </dev/null >/dev/null 2>&1 & disown"])
    assert "4321" in _command_lines()
    host.stop()
    # It is killed at once, and gone a little later: nobody waits for it.
    wait_until(lambda: "4321" not in _command_lines(), "the daemon to go", 20)
    with pytest.raises(AssertionError, match="doomed is stopped"):
        host.run(["true"])


def _command_lines() -> str:
    argv = ["ps", "-eo", "args"]
    own = f"[{os.getpid()}]"
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return "\n".join(
        line for line in lines.splitlines() if "sleep 4321" in line and own not in line
    )


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import network
one = network.Network(pathlib.Path(sys.argv[2]))
host = one.host("left")
host.start(["sleep", "4322"])
print(one.bridge, host._link, host.path("/").parent.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_is_killed_leaves_nothing_for_the_next(tmp_path: Path, one: Host) -> None:
    argv = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    died = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    bridge, link, _ = died.stdout.split()
    assert died.returncode == -9
    again = Network(tmp_path)
    try:
        wait_until(lambda: not Path(f"/sys/class/net/{link}").exists(), "the host to go", 20)
        assert again.bridge != one.network.bridge
        assert bridge == again.bridge, "its number was not given back"
    finally:
        again.close()
