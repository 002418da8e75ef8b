"""The head of the report: what ran, when, by whom, on which data, and where it is recorded."""

from __future__ import annotations

import datetime
from collections import Counter

from . import tables
from .labels import duration
from .markup import Content, Markup, joined, tag
from .report_data import ReportData, Tracking

RUNS = "runs?workflowType=machine_learning"
"""The page of an experiment's runs; without the parameter, MLflow 3 opens it as a GenAI app."""


def header(data: ReportData) -> Markup:
    """The title and the facts below it."""
    job = data.job
    facts: dict[str, Content] = {
        "Status": tables.status_mark(job["status"]),
        "Run": _run_text(data),
        "Wall time": duration(job["seconds"]),
        "Trials": _trial_counts(data),
        "Data set": _dataset(data),
        "Parameters": _parameters(data),
        "MLflow": _tracking(job.get("tracking")),
        "Spec hash": tag("code", job["spec_hash"][: tables.SHORT_HASH], title=job["spec_hash"]),
    }
    return joined(
        tag("p", "Distillation report", class_="eyebrow"),
        tag("h1", job["name"]),
        tag(
            "dl",
            *(tag("div", tag("dt", term), tag("dd", fact)) for term, fact in facts.items() if fact),
            class_="facts",
        ),
    )


def _run_text(data: ReportData) -> str:
    """`2026-11-28 17:50 UTC by ada`."""
    began, user = data.job.get("began", ""), data.job.get("user", "")
    when = ""
    if began:
        utc = datetime.datetime.fromisoformat(began).astimezone(datetime.UTC)
        when = f"{utc:%Y-%m-%d %H:%M} UTC"
    return f"{when} by {user}".strip() if user else when


def _trial_counts(data: ReportData) -> str:
    statuses = Counter(trial["status"] for trial in data.trials)
    parts = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))
    return f"{len(data.trials)} ({parts})" if parts else "none"


def _dataset(data: ReportData) -> str:
    return "; ".join(
        f"{name} ({', '.join(f'{rows:,} {split}' for split, rows in sizes.items())})"
        for name, sizes in data.datasets.items()
    )


def _parameters(data: ReportData) -> str:
    """`teacher 22.7 M, students 1.1 M to 2.1 M`."""
    teacher = None if data.teacher is None else data.teacher["parameters"]
    parts = [] if teacher is None else [f"teacher {_size(teacher)}"]
    students = [n for trial in data.trials if (n := trial.get("parameters")) is not None]
    if students:
        ends = dict.fromkeys(_size(number) for number in (min(students), max(students)))
        word = "student" if len(data.trials) == 1 else "students"
        parts.append(f"{word} {' to '.join(ends)}")
    return ", ".join(parts)


def _size(parameters: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters)


def _tracking(tracking: Tracking | None) -> Content:
    """A link to the runs on a server; of a database, the experiment's name."""
    if tracking is None:
        return ""
    name = f"experiment {tracking['experiment']}"
    if not tracking["uri"].startswith(("http://", "https://")):
        return joined(name, " in ", tag("code", tracking["uri"]))
    base = f"{tracking['uri'].rstrip('/')}/#/experiments/{tracking['experiment_id']}"
    return tag("a", name, href=f"{base}/{RUNS}", rel="noreferrer")
