"""The events of a job's ledger as lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexkd_platform.results import JobOverview
from flexkd_platform.results.overview import PlannedTrial
from flexkd_platform.tracking import params_text

from ..labels import duration
from ..markup import Markup, joined, tag
from .job_cells import step_label
from .query import Query

LINES = 25
"""How many of the last events are shown."""


@dataclass(frozen=True)
class Log:
    """The last events of a job, the newest first."""

    job: JobOverview

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        lines = event_lines(self.job)[: -LINES - 1 : -1]
        more = len(self.job.events) - len(lines)
        heading = tag("h2", "Last events" if more > 0 else "Events")
        if not lines:
            return joined(heading, tag("p", "Nothing was recorded yet.", class_="note"))
        items = (
            tag(
                "li",
                tag("time", time),
                " ",
                tag("span", text, **({"class_": tone} if tone else {})),
            )
            for time, text, tone in lines
        )
        listed = tag("ol", *items)
        region = {"role": "region", "aria_label": "Events", "tabindex": "0"}
        return joined(heading, tag("div", listed, class_="log", **region))


def event_lines(job: JobOverview) -> list[tuple[str, str, str]]:
    """Time, text and tone of every event."""
    trials = {trial.hash: trial_label(trial) for trial in job.planned}
    return [(_clock(event), *_text(event, trials)) for event in job.events]


def trial_label(trial: PlannedTrial) -> str:
    """A readable label, for example `flexkd α=0.5 seed 10`."""
    parts = (trial.method, params_text(trial.params), f"seed {trial.seed}")
    return " ".join(filter(None, parts))


def _clock(event: Mapping[str, Any]) -> str:
    """`2026-11-28 17:40:02`, in UTC."""
    return str(event.get("time", ""))[:19].replace("T", " ")


def _text(event: Mapping[str, Any], trials: Mapping[str, str]) -> tuple[str, str]:
    """Text and tone of an event; one of another version is named."""
    name, digest = str(event["event"]), str(event.get("hash", ""))
    label = step_label(str(event.get("kind", "")))
    status = str(event.get("status", ""))
    tone = "alert" if "failed" in (name, status) or name in {"damaged", "interrupted"} else ""
    reason = f": {event['reason']}" if event.get("reason") else ""
    took = f", {duration(float(event['seconds']))}" if "seconds" in event else ""
    match name:
        case "started":
            return (
                f"job started, {event.get('trials', 0)} trials, {event.get('executor', '')}",
                tone,
            )
        case "step started":
            return f"{label} started", tone
        case "step":
            return f"{label} {status}{took}{reason}", tone
        case "trial started":
            return f"trial {trials.get(digest, digest[:12])} started", tone
        case "trial":
            return f"trial {trials.get(digest, digest[:12])} {status}{took}{reason}", tone
        case "waiting":
            holder = event.get("holder") or {}
            return f"waiting for {label}, which {holder.get('user')} runs", tone
        case "damaged":
            return f"{label} {digest[:12]} was damaged and runs again", tone
    return f"job {name}{took}", tone


def last_line(job: JobOverview) -> str:
    """The text of the last event."""
    lines: Sequence[tuple[str, str, str]] = event_lines(job)
    return lines[-1][1] if lines else "–"
