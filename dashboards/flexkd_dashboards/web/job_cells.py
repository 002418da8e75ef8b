"""The state of a job in words and marks, the same in the overview and on its own page."""

from __future__ import annotations

from datetime import UTC, datetime

from flexkd_platform.plan import KINDS
from flexkd_platform.results import JobOverview

from ..labels import duration
from ..markup import joined, tag
from ..tables import status_mark
from .blocks import Cell

STATUS_TEXTS = {
    "stopped": "Its process has ended without a result, or is on a machine that gives no sign of "
    "life. The same command resumes it.",
    "waiting": "It waits for a step that another job runs.",
    "empty": "Nothing of it was recorded yet.",
}


def status_cell(job: JobOverview) -> Cell:
    """The status with its mark."""
    return Cell(job.status, content=status_mark(job.status))


def progress_cell(job: JobOverview) -> Cell:
    """How many of the planned trials have ended, with a bar."""
    ended, planned = len(job.ended), len(job.planned)
    text = f"{ended} of {planned}"
    if not planned:
        return Cell("–")
    bar = tag(
        "progress",
        value=str(min(ended, planned)),
        max=str(planned),
        aria_label=f"{text} trials have ended",
    )
    return Cell(text, content=joined(bar, " ", text))


def counts_text(job: JobOverview) -> str:
    """`5 done, 2 reused, 1 failed`."""
    order = ("done", "reused", "failed", "pruned")
    return ", ".join(f"{job.counts[s]} {s}" for s in order if job.counts[s]) or "none"


def left_text(job: JobOverview) -> str:
    """The time until all trials have ended."""
    left = job.seconds_left
    if left is None:
        return "–"
    return f"about {round(left)} s" if left < 60 else f"about {duration(left)}"


def ago_text(then: datetime | None) -> str:
    """`3 min ago`, in the largest unit that matters."""
    if then is None:
        return "–"
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def now_text(job: JobOverview) -> str:
    """What runs at the moment."""
    parts = [f"{len(job.running)} trials"] if len(job.running) > 1 else []
    parts += ["1 trial"] if len(job.running) == 1 else []
    return ", ".join([*dict.fromkeys(map(step_label, job.steps)), *parts]) or "–"


def step_label(kind: str) -> str:
    """What a kind of step is called; its name for one of another version."""
    return KINDS[kind].label if kind in KINDS else kind
