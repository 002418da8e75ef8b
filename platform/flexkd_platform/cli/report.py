"""`flexkd report`: the HTML report of a job."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from flexkd_dashboards import PublishedResult, ReportData, TrainingCurve, render_report
from flexkd_dashboards.selection_data import importance_curves_of, spectra_of

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
    return ReportData(
        results=results,
        spec_yaml=job.spec_yaml,
        metrics=spec.metric_names,
        baseline=spec.sweep.baseline,
        curves=tuple(curves),
        importance=tuple(importance_curves_of(job)),
        spectra=tuple(spectra_of(job)),
        versions=versions(),
        reference=tuple(
            PublishedResult(p.method, p.metric, p.mean, p.std, p.source) for p in spec.reference
        ),
    )


def _curve(job: JobFiles, trial: dict[str, object]) -> TrainingCurve:
    log = job.training_log(str(trial["hash"]))
    validation: dict[str, list[tuple[int, float]]] = {}
    for entry in log:
        for name, value in entry.values.items():
            if name.startswith("validation/"):
                validation.setdefault(name, []).append((entry.step, value))
    clipped = [e.values["train/clipped"] for e in log if "train/clipped" in e.values]
    return TrainingCurve(
        method=str(trial["method"]),
        params=dict(trial["params"]),  # type: ignore[call-overload]
        seed=int(trial["seed"]),  # type: ignore[call-overload]
        steps=tuple(entry.step for entry in log),
        loss=tuple(entry.values["train/loss"] for entry in log),
        validation={name: tuple(points) for name, points in validation.items()},
        clipped=sum(clipped) / len(clipped) if clipped else None,
    )
