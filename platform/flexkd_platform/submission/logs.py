"""What a job prints, as it prints it, through lost connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, TypeVar

import aiohttp

T = TypeVar("T")

POLL_SECONDS = 1.0

QUIET_SECONDS = 20.0
"""After so long without a word, ask whether the connection still leads to the job."""

RECONNECT_SECONDS = 180.0
"""How long a lost cluster is tried again: the time in which a head comes back."""

LOG_SECONDS = 30.0
"""How long the log of a job that is over is tried again, at a head that tells of the job."""

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Between attempts; the last for all further ones."""


class LostClusterError(ConnectionError):
    """The cluster did not answer; it may answer again."""


class Followed(Protocol):
    """The job that is followed. Each may raise `LostClusterError`."""

    def over(self) -> bool:
        """Whether it has ended."""

    def text(self) -> str:
        """All that it has printed."""

    def tail(self) -> AsyncIterator[str]:
        """What it has printed from the beginning on, and then what it prints."""


class Patience:
    """Lost answers in a row: the first is told, between them is a pause, and they have an end."""

    def __init__(
        self, on_trouble: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._on_trouble, self._sleep = on_trouble, sleep
        self.answered()

    def answered(self) -> None:
        """The cluster is back."""
        self._since: float | None = None
        self._attempts = 0

    def lost(self, error: LostClusterError, seconds: float) -> bool:
        """Wait a little; False when answers have been lost for so many seconds."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._on_trouble(f"{error}; trying again for {seconds:.0f} s")
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
    """An answer of a cluster that may be away for `patience` seconds, else `RECONNECT_SECONDS`.

    Raises:
        LostClusterError: it did not come back.
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
    """The job's output until it ends, each character once, however often the connection is lost.
    If it has ended and its log cannot be read, that is told, and no error.

    Raises:
        LostClusterError: the cluster did not come back within `patience` seconds, else
            `RECONNECT_SECONDS`.
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
            on_trouble(f"{error}; the job is over, and the rest of its log could not be read")
            return


def _tail(job: Followed, shown: int) -> Iterator[str]:
    """The live tail from the `shown`-th character on; ends with the connection."""
    loop = asyncio.new_event_loop()
    tail = job.tail()
    skip = received = shown
    pending: asyncio.Task[str | None] | None = None
    try:
        while True:
            pending = pending or loop.create_task(_next(tail))
            done, _ = loop.run_until_complete(asyncio.wait({pending}, timeout=QUIET_SECONDS))
            if not done:
                # A connection whose other end is gone is as silent as a job that trains.
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
    """The next piece; None when the connection ended, whatever ended it."""
    try:
        return await anext(tail)
    except (StopAsyncIteration, OSError, RuntimeError, aiohttp.ClientError):
        return None


async def _close(tail: AsyncIterator[str]) -> None:
    close = getattr(tail, "aclose", None)
    if close is not None:
        await close()
