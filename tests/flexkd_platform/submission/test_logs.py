"""Following a log: each character once, however the connection behaves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Container

import pytest

from flexkd_platform.submission import logs as following
from flexkd_platform.submission.logs import LostClusterError, follow

TEXT = "".join(f"line {number}: größe\n" for number in range(300))


class Job:
    """A job whose output grows with every question, behind a connection that breaks by a plan.

    cuts: after how many pieces each tail ends. losses: numbers of the questions that fail.
    """

    def __init__(self, draw: random.Random, losses: Container[int], how: str = "end") -> None:
        self.draw, self.losses, self.how = draw, losses, how
        self.written = self.questions = self.tails = 0

    def _ask(self) -> None:
        self.questions += 1
        if self.questions in self.losses:
            raise LostClusterError("lost http://head:8265: connection refused")

    def write(self) -> None:
        self.written = min(len(TEXT), self.written + self.draw.randint(1, 200))

    def over(self) -> bool:
        self._ask()
        self.write()
        return self.written == len(TEXT)

    def text(self) -> str:
        self._ask()
        return TEXT[: self.written]

    async def tail(self) -> AsyncIterator[str]:
        self.tails += 1
        sent = 0
        for _ in range(self.draw.randint(0, 8)):
            size = self.draw.randint(1, 300)
            piece = TEXT[sent : min(sent + size, self.written)]
            if piece:
                yield piece
            sent += len(piece)
            self.write()
        if self.how == "error":
            raise ConnectionResetError("by the proxy")


@pytest.mark.parametrize("how", ["end", "error"])
@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_and_nothing_repeated(seed: int, how: str) -> None:
    draw = random.Random(seed)
    job = Job(draw, losses={n for n in range(60) if draw.random() < 0.4}, how=how)
    troubles: list[str] = []
    shown = "".join(follow(job, troubles.append, patience=1e6, sleep=lambda _: None))
    assert shown == TEXT
    assert job.tails > 1
    assert troubles, "a lost connection is told"
    assert all("retrying for" in text for text in troubles)


def test_a_cluster_that_stays_away_is_given_up() -> None:
    job = Job(random.Random(0), losses=range(2, 10**12))
    slept: list[float] = []
    troubles: list[str] = []
    with pytest.raises(LostClusterError, match="connection refused"):
        for _ in follow(job, troubles.append, patience=0.05, sleep=slept.append):
            pass
    assert len(troubles) == 1, "said once, not at every attempt"
    assert slept[-1] <= following.PAUSES[-1]


def test_silence_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose other end is gone says nothing, as a job that trains."""
    monkeypatch.setattr(following, "QUIET_SECONDS", 0.01)

    class Silent(Job):
        async def tail(self) -> AsyncIterator[str]:
            self.tails += 1
            yield TEXT[:5]
            await following.asyncio.Event().wait()

    job = Silent(random.Random(1), losses=set())
    shown = "".join(follow(job, lambda _: None, sleep=lambda _: None))
    assert shown == TEXT
    assert job.tails > 1, "it was connected anew"


def test_a_follower_that_is_interrupted_lets_go() -> None:
    """Ctrl-C closes the connection and leaves no task behind."""
    closed: list[bool] = []

    class Watched(Job):
        async def tail(self) -> AsyncIterator[str]:
            try:
                while True:
                    yield "x"
            finally:
                closed.append(True)

    pieces = follow(Watched(random.Random(2), set()), lambda _: None, sleep=lambda _: None)
    next(pieces)
    next(pieces)
    with pytest.raises(KeyboardInterrupt):
        pieces.throw(KeyboardInterrupt)
    assert closed == [True]
