"""Serve the app on a port of this machine."""

from __future__ import annotations

import socket
import threading
import webbrowser
from contextlib import suppress

import uvicorn

from .app import create_app
from .pages import PAGES
from .query import Query
from .sources import Sources, UnavailableError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::")


def serve(sources: Sources, server: socket.socket, host: str, *, open_browser: bool) -> None:
    """Serve until it is interrupted.

    server: a bound socket. host: the name it was bound to.
    """
    hosts = ["*"] if host in ANY else [*LOOPBACK, "[::1]", host]
    app = create_app(sources, hosts=hosts)
    threading.Thread(target=_read_ahead, args=(sources,), daemon=True).start()
    if open_browser:
        threading.Timer(0.5, webbrowser.open, [address(server, host)]).start()
    config = uvicorn.Config(app, log_level="warning", server_header=False)
    uvicorn.Server(config).run(sockets=[server])


def address(server: socket.socket, host: str) -> str:
    """The URL of the app, for a browser on this machine."""
    name = "127.0.0.1" if host in ANY else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{server.getsockname()[1]}"


def _read_ahead(sources: Sources) -> None:
    """Make the start page before it is asked for: the trials are read and grouped."""
    path, page = next(iter(PAGES.items()))
    with suppress(UnavailableError):  # the page that is asked for says so
        page.build(sources, Query(path))
