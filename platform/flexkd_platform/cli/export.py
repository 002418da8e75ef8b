"""`flexkd export`: a student as a folder that transformers loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..export import find_student, parse_target
from ..results import JobFiles, find_job
from ..spec import Problem, SpecError
from ..store import StoreError, open_store
from .console import out


def export(target: str, folder: Path | None, storage: str, as_json: bool) -> int:
    """Write the student that `target` names to a folder, and print what was chosen."""
    wanted = parse_target(target)
    problems = _folder_problems(folder)
    if problems:
        raise SpecError(problems)
    student = find_student(job_files(storage, wanted.job), wanted)
    # Imports torch, for which a wrong request should not wait.
    from ..export.folder import write_student

    assert folder is not None
    exported = write_student(student, folder)
    trial = student.trial
    numbers: dict[str, Any] = {
        "job": student.job_id,
        "trial": {
            "hash": trial.hash,
            "method": trial.method,
            "params": dict(trial.params),
            "seed": trial.seed,
            "metrics": dict(trial.metrics),
        },
        "chosen_by": student.chosen_by,
        "folder": str(folder),
        "files": list(exported.files),
        "parameters": exported.parameters,
        "notes": list(exported.notes),
    }
    if as_json:
        print(json.dumps(numbers, ensure_ascii=False))
        return 0
    out.print(f"student: {student.label}", markup=False, soft_wrap=True)
    if student.chosen_by is not None:
        value = trial.metrics[student.chosen_by]
        text = f"chosen by {student.chosen_by} ({value:.4f}) from {student.candidates} trials"
        out.print(text, markup=False, soft_wrap=True)
    text = f"written: {folder}: {', '.join(exported.files)}; {exported.parameters:,} parameters"
    out.print(text, markup=False, soft_wrap=True)
    for note in exported.notes:
        out.print(f"note: {note}", markup=False, soft_wrap=True)
    return 0


def job_files(storage: str, job: str) -> JobFiles:
    """The files of a job, by its id or name.

    Raises:
        SpecError: there is no such job, or the storage cannot be read.
    """
    try:
        return find_job(open_store(storage), job)
    except (StoreError, OSError) as error:
        remedy = "name the storage of the job, which must be reachable from here"
        raise SpecError([Problem("--storage", str(error), remedy)]) from None


def _folder_problems(folder: Path | None) -> list[Problem]:
    if folder is None:
        return [Problem("DIR", "no folder to write to", "name a new folder")]
    return []
