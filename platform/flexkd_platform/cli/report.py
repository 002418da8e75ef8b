"""`flexkd report`: the HTML report of a job."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from flexkd_dashboards import (
    PublishedResult,
    ReportData,
    TrainingCurve,
    render_report,
    training_curve,
)
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


def _curve(job: JobFiles, trial: dict[str, Any]) -> TrainingCurve:
    return training_curve(
        job.training_log(trial["hash"]), trial["method"], trial["params"], trial["seed"]
    )
