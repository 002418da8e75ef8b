"""Hosts for tests: namespaces of one machine that share a network and nothing else.

A host has network, processes, host name, shared memory and disk of its own: the machine's disk is
read-only there, with a private /tmp on top, and this checkout is hidden, so that code reaches a
host only if somebody ships it. The first process of a host reads from a pipe that the test holds:
when the tests end, however they end, it ends too, and the kernel takes everything else with it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = ("ip", "mount", "nsenter", "unshare")
HOME = "/tmp/home"
PATIENCE = 900.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""
_LINKS = itertools.count(1)


def missing() -> str | None:
    """Why this machine cannot have hosts, or None."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not found; install iproute2 and util-linux"
    return None


class Network:
    """A bridge with a network of its own, 10.77.<number>.0/24; this machine is its .1."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.hosts: list[Host] = []
        self._sweep()
        for number in range(1, 255):
            # The bridge's name claims the number: the kernel lets only one process have it.
            bridge = f"flexkd-{number}"
            if not _exists(bridge) and _ip("link", "add", bridge, "type", "bridge", check=False):
                break
        else:
            raise RuntimeError("no network left among 10.77.1.0/24 to 10.77.254.0/24")
        self.bridge, self.prefix = bridge, f"10.77.{number}"
        self.address = f"{self.prefix}.1"
        self._addresses = itertools.count(2)
        _ip("link", "set", bridge, "alias", f"flexkd tests {os.getpid()}")
        _ip("address", "add", f"{self.address}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")

    def host(self, name: str, *, checkout: bool = False, shm: str = "1g") -> Host:
        """A new host, reachable when this returns; `checkout`: it sees this repository's files."""
        number = next(self._addresses)
        host = Host(self, name, f"{self.prefix}.{number}", f"fk{os.getpid()}-{next(_LINKS)}")
        self.hosts.append(host)
        host.boot(checkout=checkout, shm=shm)
        return host

    def close(self) -> None:
        """Stop all hosts and remove the bridge."""
        for host in reversed(self.hosts):
            host.stop()
        _ip("link", "delete", self.bridge, check=False)

    @staticmethod
    def _sweep() -> None:
        """Remove the bridges of test runs that were killed; their hosts went with them."""
        for bridge in Path("/sys/class/net").glob("flexkd-*"):
            with contextlib.suppress(OSError):
                owner = (bridge / "ifalias").read_text().rpartition(" ")[2].strip()
                if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                    _ip("link", "delete", bridge.name, check=False)


class Process:
    """A command that runs on a host, with its output in a file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.log = name, log
        self.popen = popen

    @property
    def pid(self) -> int:
        """The process group's id, as this machine counts."""
        return self.popen.pid

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.popen.poll()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; returns the exit code."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs; its log ends:\n{self.tail()}") from None

    def tail(self, lines: int = 30) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Ask `ready` until it says yes; an error of the network is a no.

        Raises:
            AssertionError: it ended, or the time did; with the end of the log.
        """
        wait_until(ready, f"{self.name} to be ready", seconds, self)

    def stop(self, seconds: float = 10) -> None:
        """End it and its whole group: asked first, killed when that does not help."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.popen.poll()
                try:
                    os.killpg(self.pid, 0)
                except ProcessLookupError:
                    return
                time.sleep(0.05)


def wait_until(
    ready: Callable[[], bool],
    what: str,
    seconds: float = PATIENCE,
    process: Process | None = None,
) -> None:
    """Ask `ready` until it says yes. See `Process.wait_until`."""
    end, reason = time.monotonic() + seconds, ""
    while True:
        try:
            if ready():
                return
        except (OSError, subprocess.SubprocessError) as error:
            reason = f" ({error})"
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > end:
            told = f"; its log ends:\n{process.tail()}" if process is not None else ""
            raise AssertionError(f"waited in vain for {what}{reason}{told}")
        time.sleep(0.2)


class Host:
    """One host: an address, commands that run there, and its files."""

    def __init__(self, network: Network, name: str, address: str, link: str) -> None:
        self.network, self.name, self.address = network, name, address
        self._link = link
        self._processes: list[Process] = []
        self._first: subprocess.Popen[bytes] | None = None

    # --- commands --------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        check: bool = True,
        timeout: float = PATIENCE,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `check`: an exit code other than 0 fails with its output."""
        done = subprocess.run(
            [*self._enter(), *argv],
            env=self.env(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            told = f"{done.stdout}\n{done.stderr}"[-4000:]
            raise AssertionError(f"{shlex.join(argv)} on {self.name}: {done.returncode}\n{told}")
        return done

    def start(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> Process:
        """Start a command that lasts; it ends with its whole group, at the latest with the host."""
        name = f"{Path(argv[0]).name}-{len(self._processes)} on {self.name}"
        path = log or self.network.logs / f"{name.replace(' ', '-')}.log"
        with path.open("ab") as output:
            popen = subprocess.Popen(
                [*self._enter(), *argv],
                env=self.env(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, popen, path)
        self._processes.append(process)
        return process

    def python(
        self, code: str, env: Mapping[str, str] | None = None, *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code there, with the packages installed on this machine. See `run`."""
        return self.run([sys.executable, "-c", code], env, check=check)

    @staticmethod
    def env(more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What commands find in their environment: nothing of the test's own but the time zone."""
        first = {
            "HOME": HOME,
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        return first | dict(more or {})

    # --- files -----------------------------------------------------------------------------------

    def path(self, path: str) -> Path:
        """Where a file of the host (`/tmp/…`) is for this process, to be read and written."""
        assert self._first is not None, f"{self.name} is stopped"
        return Path(f"/proc/{self._first.pid}/root") / path.lstrip("/")

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> str:
        """Put a file on the host; returns its path there."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        target.chmod(mode)
        return path

    # --- life ------------------------------------------------------------------------------------

    def boot(self, *, checkout: bool, shm: str) -> None:
        """Start the first process and connect it to the network."""
        flags = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
        argv = ["unshare", *flags, "--kill-child", "--propagation", "private"]
        script = "\n".join(self._script(checkout=checkout, shm=shm))
        self._first = subprocess.Popen(
            [*argv, "bash", "-euc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._first.stdout is not None
        ready = self._first.stdout.readline()
        assert ready == b"ready\n", f"the host {self.name} did not start"
        pid = str(self._first.pid)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", pid)
        _ip("link", "set", self._link, "master", self.network.bridge, "up")
        _ip("address", "add", f"{self.address}/24", "dev", "eth0", inside=pid)
        for device in ("lo", "eth0"):
            _ip("link", "set", device, "up", inside=pid)
        # Nobody forwards: the route is there for programs that learn their address by it.
        _ip("route", "add", "default", "via", self.network.address, inside=pid)

    def stop(self) -> None:
        """Power off: all its processes are killed, which takes its namespaces away."""
        if self._first is not None:
            self._first.kill()
            for popen in (self._first, *(process.popen for process in self._processes)):
                popen.wait(20)
            for pipe in (self._first.stdin, self._first.stdout):
                assert pipe is not None
                pipe.close()
            self._first = None
        _ip("link", "delete", self._link, check=False)

    def cut(self) -> None:
        """Pull the network cable."""
        _ip("link", "set", self._link, "down")

    def _enter(self) -> list[str]:
        assert self._first is not None, f"{self.name} is stopped"
        pid = self._first.pid
        spaces = ["--mount", "--net", "--uts", "--ipc", f"--pid=/proc/{pid}/ns/pid_for_children"]
        return ["nsenter", f"--target={pid}", *spaces, f"--wdns={HOME}"]

    def _script(self, *, checkout: bool, shm: str) -> Iterator[str]:
        """What the first process does: cover what is shared, then wait until its pipe is closed."""
        # What must stay in sight, of what the covers below would hide.
        shown = {Path(sys.prefix), Path(sys.base_prefix)} | ({CHECKOUT} if checkout else set())
        covers = [Path("/tmp"), Path("/var/tmp"), Path("/root"), *([] if checkout else [CHECKOUT])]
        kept = [p for p in sorted(shown) if any(p.is_relative_to(cover) for cover in covers)]
        yield f"hostname {self.name}"
        yield "mount -t tmpfs none /mnt"
        for place, path in enumerate(kept):
            yield f"mkdir /mnt/{place} && mount --rbind {path} /mnt/{place}"
        for cover in covers:
            yield f"mkdir -p {cover} && mount -t tmpfs -o mode=1777 none {cover}"
        for place, path in enumerate(kept):
            yield f"mkdir -p {path} && mount --rbind /mnt/{place} {path}"
        yield "umount -R /mnt"
        yield f"mount -t tmpfs -o size={shm},mode=1777 none /dev/shm"
        yield f"mkdir -m 777 -p {HOME} /tmp/etc"
        yield f"printf '127.0.0.1 localhost\\n{self.address} {self.name}\\n' > /tmp/etc/hosts"
        yield "touch /tmp/etc/resolv.conf"  # names of the outside fail at once, not after seconds
        for name in ("hosts", "resolv.conf"):
            yield f"mount --bind /tmp/etc/{name} /etc/{name}"
        yield "mount -o remount,bind,ro /"
        yield "echo ready"
        yield "while read -r _; do :; done"


def _exists(link: str) -> bool:
    return Path(f"/sys/class/net/{link}").exists()


def _ip(*arguments: str, check: bool = True, inside: str | None = None) -> bool:
    """Run `ip`, in the network of the process `inside` if given; whether it worked."""
    enter = ["nsenter", f"--target={inside}", "--net"] if inside else []
    done = subprocess.run([*enter, "ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {shlex.join(arguments)}: {done.stderr.strip()}")
    return done.returncode == 0
