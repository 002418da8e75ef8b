"""`flexkd report`: the HTML report of a job."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flexkd_dashboards import (
    ImportanceCurve,
    PublishedResult,
    ReportData,
    Spectrum,
    TrainingCurve,
    render_report,
    training_curve,
)

from ..results import JobFiles
from ..spec import JobSpec
from ..tracking.provenance import versions
from .common import job_files


def report(job_name: str, storage: str, as_json: bool) -> int:
    """Write a job's report again and print its location."""
    job = job_files(storage, job_name)
    write_report(job, job.spec())
    place = job.folder.place("report/index.html")
    print(json.dumps({"report": place}) if as_json else place)
    return 0


def write_report(job: JobFiles, spec: JobSpec) -> Path:
    """Render the report to the job's folder; returns a local path to it."""
    html = render_report(report_data(job, spec))
    job.folder.write("report/index.html", html)
    local = job.folder.local("report/index.html")
    if local is None:
        local = Path(tempfile.mkdtemp()) / "index.html"
        local.write_text(html)
    return local


def report_data(job: JobFiles, spec: JobSpec) -> ReportData:
    """The content of the report, read from the job's files."""
    results = job.results
    curves = [
        _curve(job, trial) for trial in results["trials"] if trial["status"] in {"done", "reused"}
    ]
    # Directions have the units of their score as well, which are shown once; so are random units,
    # which each seed draws anew.
    selections = {
        (entry["score_hash"], entry["d_student"], entry.get("select")): entry
        for entry in results["selection"]
    }
    importance = [
        ImportanceCurve(
            label=_selection_label(entry),
            importance=tuple(job.importance(entry["score_hash"])),
            units=tuple(entry["units"]),
            note=_selection_note(entry),
        )
        for entry in selections.values()
    ]
    return ReportData(
        results=results,
        spec_yaml=job.spec_yaml,
        metrics=spec.metric_names,
        baseline=spec.sweep.baseline,
        curves=tuple(curves),
        importance=tuple(importance),
        spectra=tuple(_spectra(job, results["selection"])),
        versions=versions(),
        reference=tuple(
            PublishedResult(p.method, p.metric, p.mean, p.std, p.source) for p in spec.reference
        ),
    )


def _spectra(job: JobFiles, selection: list[dict[str, Any]]) -> Iterator[Spectrum]:
    """Those of every score, without those of another kind of importance on the same moments."""
    seen: set[tuple[str, tuple[float, ...]]] = set()
    for entry in selection:
        geometry = job.geometry(entry["score_hash"]) or {}
        for key, name, found in (
            ("spectrum", "gradients", geometry),
            ("contribution_spectrum", "contribution", geometry.get("contribution", {})),
        ):
            values = tuple(geometry.get(key, ()))
            if "effective_dimension" not in found or (key, values) in seen:
                continue
            seen.add((key, values))
            yield Spectrum(
                label=f"{name}, layer {entry['layer']}{_drawn(entry)}",
                values=values,
                dimension=found["effective_dimension"],
                error=found.get("effective_dimension_error"),
            )


def _selection_label(entry: Mapping[str, Any]) -> str:
    """`layer 5, gradient, 800 samples of seed 2, 128 lowest units`."""
    select = entry.get("select", "highest")
    which = "" if select == "highest" else f"{select} "
    kind = entry["score_kind"]
    return f"layer {entry['layer']}, {kind}{_drawn(entry)}, {entry['d_student']} {which}units"


def _drawn(entry: Mapping[str, Any]) -> str:
    draw = entry.get("score_draw")
    return "" if draw is None else f", {draw['samples']} samples of seed {draw['seed']}"


def _selection_note(entry: Mapping[str, Any]) -> str:
    """The effective dimension with its error bar, and the stability over two halves of the data."""
    geometry, stability = entry.get("geometry") or {}, entry.get("stability") or {}
    parts = []
    if "effective_dimension" in geometry:
        error = geometry.get("effective_dimension_error")
        bar = "" if error is None else f" ± {error:g}"
        parts.append(
            f"effective dimension {geometry['effective_dimension']}{bar} of {entry['d_teacher']}"
        )
    if "units" in stability:
        parts.append(
            f"two halves of the data share {stability['units']:.0%} of the units (Jaccard index) "
            f"and {stability['pairs']:.0%} of the ranks"
        )
    return "; ".join(parts)


def _curve(job: JobFiles, trial: dict[str, Any]) -> TrainingCurve:
    return training_curve(
        job.training_log(trial["hash"]), trial["method"], trial["params"], trial["seed"]
    )
