"""What a job prints, as it prints it, through lost connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import aiohttp

POLL_SECONDS = 1.0

QUIET_SECONDS = 20.0
"""After so long without a word, ask whether the connection still leads to the job."""

RECONNECT_SECONDS = 180.0
"""How long a lost cluster is tried again: the time in which a head comes back."""

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


def follow(
    job: Followed,
    on_trouble: Callable[[str], None],
    *,
    patience: float = RECONNECT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """The job's output until it ends, each character once, however often the connection is lost.

    Raises:
        LostClusterError: the cluster did not come back within `patience` seconds.
    """
    shown = 0
    lost: float | None = None
    attempts = 0
    while True:
        try:
            over = job.over()
            text = job.text()
            lost, attempts = None, 0
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
            now = time.monotonic()
            if lost is None:
                lost = now
                on_trouble(f"{error}; trying again for {patience:.0f} s")
            elif now - lost >= patience:
                raise
            sleep(PAUSES[min(attempts, len(PAUSES) - 1)])
            attempts += 1


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
