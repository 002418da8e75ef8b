"""Compute answers in a thread, so that who asks can say that it waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from itertools import takewhile
from queue import SimpleQueue

from ..results import JobFiles
from ..spec import Problem, SpecError
from .compute import cached, compute
from .records import Request, Result, cache_key

_log = logging.getLogger(__name__)

_Work = tuple[Future[Result], JobFiles, Request]

MOST_WAITING = 8
"""Requests that are computed or wait; further ones are refused until one is done."""

MOST_KEPT = 64
"""Answers and failures that are kept in memory."""


@dataclass(frozen=True)
class Waiting:
    """The answer is being computed. ahead: how many requests come before this one."""

    ahead: int


@dataclass(frozen=True)
class Failed:
    """The answer cannot be computed, and why."""

    problems: tuple[Problem, ...]


class Worker:
    """Computes one answer at a time, in a thread that does not keep the process alive.

    run: computes an answer; a test replaces it.
    """

    def __init__(self, run: Callable[[JobFiles, Request], Result] = compute) -> None:
        self._run = run
        self._queue: SimpleQueue[_Work] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._found: dict[str, Future[Result]] = {}

    def ask(self, job: JobFiles, request: Request) -> Result | Waiting | Failed:
        """The answer if it is there; else it is computed, and a later call has it.

        A failure is returned once: the next call tries again.
        """
        key = cache_key(request)
        with self._lock:
            future = self._found.get(key)
            if future is None:
                return self._begun(key, job, request)
            if not future.done():
                return Waiting(self._ahead(key))
            outcome = _outcome(future)
            if isinstance(outcome, Failed):
                del self._found[key]
            return outcome

    def finish(self) -> None:
        """Wait for all that was asked."""
        with self._lock:
            futures = list(self._found.values())
        wait(futures)

    def _begun(self, key: str, job: JobFiles, request: Request) -> Result | Waiting | Failed:
        if (known := cached(request)) is not None:
            return known
        ahead = sum(not other.done() for other in self._found.values())
        if ahead >= MOST_WAITING:
            return Failed((_busy(ahead),))
        future = self._found[key] = Future()
        self._queue.put((future, job, request))
        self._forget()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="representations")
            self._thread.start()
        return Waiting(ahead)

    def _work(self) -> None:
        while True:
            future, job, request = self._queue.get()
            try:
                future.set_result(self._run(job, request))
            except BaseException as error:  # for who asked
                future.set_exception(error)

    def _ahead(self, key: str) -> int:
        """How many that wait were asked before."""
        before = takewhile(lambda other: other != key, self._found)
        return sum(not self._found[other].done() for other in before)

    def _forget(self) -> None:
        """Drop the oldest that are done, above `MOST_KEPT`."""
        for key in [key for key, future in self._found.items() if future.done()]:
            if len(self._found) <= MOST_KEPT:
                return
            del self._found[key]


def _outcome(future: Future[Result]) -> Result | Failed:
    try:
        return future.result()
    except SpecError as error:
        return Failed(tuple(error.problems))
    except Exception as error:  # a bug: the page says so, the log has the traceback
        _log.error("a representation cannot be computed", exc_info=error)
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return Failed((Problem("", f"it cannot be computed: {what}", "see the log of the server"),))


def _busy(waiting: int) -> Problem:
    return Problem("", f"{waiting} other computations wait on this server", "try again in a minute")
