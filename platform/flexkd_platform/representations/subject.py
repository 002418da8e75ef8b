"""The artifacts of a trial that representations are computed from."""

from __future__ import annotations

from ..results import JobFiles, lineage_of, teacher_of
from ..spec import Problem, SpecError
from ..store import StoreError
from .records import Subject


def subject_of(job: JobFiles, trial: str) -> Subject:
    """The student of a finished trial, its teacher and its data set.

    Raises:
        SpecError: the job has no teacher, or the storage no longer holds the student.
    """
    lineage = lineage_of(job)
    teacher = teacher_of(lineage, trial)
    if teacher is None:
        message = "no method of this job reads a teacher, so that there is nothing to compare with"
        raise SpecError([Problem("", message, "choose a job with a teacher")])
    try:
        dataset = job.store.manifest_at("distill", trial).needs["dataset"]
    except (StoreError, KeyError) as error:
        remedy = "run the job again with the same --storage: it trains what is missing"
        raise SpecError([Problem("", f"the student is not there: {error}", remedy)]) from None
    return Subject(trial, teacher, dataset)
