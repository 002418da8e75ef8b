"""The descriptions of runs, which MLflow's UI shows as Markdown."""

from __future__ import annotations

from .records import JobRecord, TrialRecord


def job_note(job: JobRecord) -> str:
    """What the run of a job is, and where its results are."""
    return (
        f"Job `{job.id}` of flexkd on {job.dataset.text}. Its trials are the nested runs. "
        "Artifacts: `spec.yaml` runs it again, `results.json` and `report/index.html` have its "
        "results."
    )


def trial_note(trial: TrialRecord, job_id: str) -> str:
    """What the run of a trial is. job_id: of the job that ran it; "" if unknown."""
    job = f", of job `{job_id}`" if job_id else ""
    data = f" on {trial.dataset.text}" if trial.dataset is not None else ""
    return f"One student, trained by `{trial.group_name}` with seed {trial.seed}{data}{job}."
