"""`flexkd dashboard`: a read-only web app over runs and jobs."""

from __future__ import annotations

import socket
from contextlib import suppress

from ..spec import Problem, SpecError
from ..store import StoreError, absolute_location, open_store
from ..tracking import TRACKING_OPTION, absolute_uri, check_form, default_uri, shown_uri
from .console import err

NONE = "none"


def dashboard(storage: str, tracking: str, host: str, port: int, *, browser: bool) -> int:
    """Serve the app until it is interrupted."""
    uri, problems = _tracking_uri(tracking, storage)
    problems += _storage_problems(storage)
    listening, found = _bound(host, port)
    problems += found
    if problems or listening is None:
        raise SpecError(problems)
    from flexkd_dashboards.web import Sources, serve
    from flexkd_dashboards.web.server import LOOPBACK, address

    shown = "" if uri == NONE else f"{shown_uri(uri)} and "
    err.print(f"showing {shown}{shown_uri(storage)}", markup=False)
    if host not in LOOPBACK:
        err.print("without a login: everyone who reaches this port can read all runs and jobs")
    print(address(listening, host), flush=True)
    err.print("stop it with Ctrl-C", markup=False)
    with listening, suppress(KeyboardInterrupt):
        serve(Sources(absolute_location(storage), uri), listening, host, open_browser=browser)
    return 0


def _tracking_uri(given: str, storage: str) -> tuple[str, list[Problem]]:
    """The tracking store; with a storage that is no local folder and no URI, none."""
    try:
        uri = absolute_uri(given) if given else default_uri(absolute_location(storage))
    except StoreError:
        return NONE, []  # reported for the storage
    except ValueError as error:
        return given, [Problem(TRACKING_OPTION, str(error), "give --tracking-uri, or none")]
    return uri, check_form(uri)


def _storage_problems(storage: str) -> list[Problem]:
    try:
        open_store(storage)
    except (StoreError, OSError) as error:
        return [Problem("--storage", str(error), "name the folder or URI of the jobs")]
    return []


def _bound(host: str, port: int) -> tuple[socket.socket | None, list[Problem]]:
    """A socket that listens on the port, or why there is none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "name another one with --host and --port; --port 0 takes a free one"
        return None, [Problem("--port", f"cannot listen on {host}:{port}: {reason}", remedy)]
    return listening, []
