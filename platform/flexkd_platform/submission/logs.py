"""Stream the log of a job, and reconnect when the connection is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, TypeVar

import aiohttp

T = TypeVar("T")

POLL_SECONDS = 1.0

QUIET_SECONDS = 20.0
"""After this time without output, check whether the connection to the job is still open."""

RECONNECT_SECONDS = 180.0
"""How long to retry a lost cluster: enough for a head to restart."""

LOG_SECONDS = 30.0
"""How long to retry reading the log of an ended job, if the head reports its status."""

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts; the last one applies to all further attempts."""


class LostClusterError(ConnectionError):
    """The cluster did not answer; it may answer on a retry."""


class Followed(Protocol):
    """The job that is followed. Every method may raise `LostClusterError`."""

    def over(self) -> bool:
        """Whether the job has ended."""

    def text(self) -> str:
        """The log so far."""

    def tail(self) -> AsyncIterator[str]:
        """Stream the log from its beginning."""


class Patience:
    """Retries after lost responses: reports the first, pauses between them, has a time limit."""

    def __init__(
        self, on_trouble: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._on_trouble, self._sleep = on_trouble, sleep
        self.answered()

    def answered(self) -> None:
        """The cluster has answered: reset."""
        self._since: float | None = None
        self._attempts = 0

    def lost(self, error: LostClusterError, seconds: float) -> bool:
        """Pause before a retry; False if responses have been lost for `seconds`."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._on_trouble(f"{error}; retrying for {seconds:.0f} s")
        elif now - self._since >= seconds:
            return False
        self._sleep(PAUSES[min(self._attempts, len(PAUSES) - 1)])
        self._attempts += 1
        return True


def patiently(
    question: Callable[[], T],
    on_trouble: Callable[[str], None],
    *,
    patience: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Query a cluster, and retry for `patience` seconds (default `RECONNECT_SECONDS`).

    Raises:
        LostClusterError: the cluster did not answer within that time.
    """
    seconds = RECONNECT_SECONDS if patience is None else patience
    waiting = Patience(on_trouble, sleep)
    while True:
        try:
            return question()
        except LostClusterError as error:
            if not waiting.lost(error, seconds):
                raise


def follow(
    job: Followed,
    on_trouble: Callable[[str], None],
    *,
    patience: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Stream a job's log until it ends, each character once, even if the connection is lost.
    If the job has ended and its log cannot be read, this is reported and not an error.

    Raises:
        LostClusterError: the cluster did not answer within `patience` seconds (default
            `RECONNECT_SECONDS`).
    """
    seconds = RECONNECT_SECONDS if patience is None else patience
    shown = 0
    over = False
    waiting = Patience(on_trouble, sleep)
    while True:
        try:
            if not over and job.over():
                over = True
                waiting.answered()
            text = job.text()
            waiting.answered()
            if len(text) > shown:
                yield text[shown:]
                shown = len(text)
            if over:
                return
            for piece in _tail(job, shown):
                yield piece
                shown += len(piece)
            sleep(POLL_SECONDS)
        except LostClusterError as error:
            if waiting.lost(error, min(seconds, LOG_SECONDS) if over else seconds):
                continue
            if not over:
                raise
            on_trouble(f"{error}; the job has ended, and the rest of its log could not be read")
            return


def _tail(job: Followed, shown: int) -> Iterator[str]:
    """Stream the log from character `shown` on; ends with the connection."""
    loop = asyncio.new_event_loop()
    tail = job.tail()
    skip = received = shown
    pending: asyncio.Task[str | None] | None = None
    try:
        while True:
            pending = pending or loop.create_task(_next(tail))
            done, _ = loop.run_until_complete(asyncio.wait({pending}, timeout=QUIET_SECONDS))
            if not done:
                # A dead connection looks the same as a job that prints nothing.
                if job.over() or len(job.text()) > received:
                    return
                continue
            piece, pending = pending.result(), None
            if piece is None:
                return
            fresh = piece[skip:]
            skip = max(0, skip - len(piece))
            received += len(fresh)
            if fresh:
                yield fresh
    finally:
        if pending is not None:
            pending.cancel()
            loop.run_until_complete(asyncio.wait({pending}))
        loop.run_until_complete(_close(tail))
        loop.close()


async def _next(tail: AsyncIterator[str]) -> str | None:
    """The next piece; None if the connection ended for any reason."""
    try:
        return await anext(tail)
    except (StopAsyncIteration, OSError, RuntimeError, aiohttp.ClientError):
        return None


async def _close(tail: AsyncIterator[str]) -> None:
    close = getattr(tail, "aclose", None)
    if close is not None:
        await close()
