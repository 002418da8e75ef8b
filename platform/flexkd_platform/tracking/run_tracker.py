"""The rules for what is recorded and when, independent of the backend that stores the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from typing_extensions import override

from .backend import Point, Run, RunBackend, RunStatus
from .encoding import (
    HASH,
    JOB_HASH,
    JOB_ID,
    KIND,
    METRICS,
    NOTE,
    PARENT,
    POINTS,
    REASON,
    SECONDS,
    STATUS,
    STUDENT,
    STUDENT_DIGEST,
    TAG_LIMIT,
    USER,
    cut,
    final_names,
    joined_tags,
    trial_params,
    trial_tags,
)
from .notes import job_note, trial_note
from .points import Recorded, point_count, same_value
from .provenance import current_user, provenance
from .records import JobRecord, JobStatus, StepMetrics, StoredStudent, TrialRecord
from .tracker import Tracker

ENDED: dict[str, RunStatus] = {
    "done": "FINISHED",
    "reused": "FINISHED",
    "failed": "FAILED",
    "pruned": "KILLED",
    "stopped": "KILLED",
}
"""The final status of a run, by the status of its job or trial."""

STUDENT_FOLDER = "student"
"""Artifact path of the student in a trial's run."""


class RunTracker(Tracker):
    """A tracker that gets or creates runs in a `RunBackend`.

    Args:
        log_students: copy students' folders to the backend; their URI and digest are recorded in
            any case.
    """

    def __init__(self, runs: RunBackend, *, log_students: bool = False) -> None:
        self._runs = runs
        self._log_students = log_students
        self._job: Run | None = None
        self._job_id = ""
        self._parents: dict[str, str] = {}  # job hash → run id
        self._trials: dict[str, str] = {}  # trial hash → run id
        self._recorded: dict[str, Recorded] = {}  # run id → its points

    @override
    def start_job(self, job: JobRecord) -> str:
        fixed = {KIND: "job", JOB_HASH: job.hash, JOB_ID: job.id}
        tags = {USER: current_user(), **provenance(), **job.tags, **fixed}
        tags = {key: cut(value, TAG_LIMIT) for key, value in tags.items()}
        note = {NOTE: cut(job_note(job), TAG_LIMIT)}
        run = self._get_or_create({KIND: "job", JOB_HASH: job.hash}, job.id, note | tags)
        self._set(run, tags if NOTE in run.tags else note | tags)  # somebody may have edited it
        if run.status != "RUNNING":
            self._runs.set_status(run.id, "RUNNING")
        self._runs.log_dataset(run.id, job.dataset)
        with TemporaryDirectory() as folder:
            spec = Path(folder, "spec.yaml")
            spec.write_text(job.spec_yaml, encoding="utf-8")
            self._runs.put(run.id, spec.name, spec)
        self._job, self._job_id = run, job.id
        self._parents[job.hash] = run.id
        return run.id

    @override
    def start_trial(self, trial: TrialRecord) -> str:
        run = self._trial_run(trial)
        if run.tags.get(STATUS) != "done" and run.status != "RUNNING":
            self._runs.set_status(run.id, "RUNNING")
        return run.id

    @override
    def log_steps(self, trial_hash: str, rows: Sequence[StepMetrics]) -> None:
        run_id = self._trials.get(trial_hash, "")
        if run_id not in self._recorded:
            run = self._runs.find({KIND: "trial", HASH: trial_hash})
            if run is None:
                raise ValueError(f"trial {trial_hash} has no run; call start_trial first")
            run_id = self._trials[trial_hash] = run.id
            self._known(run)
        self._record(run_id, self._recorded[run_id].missing(rows))

    @override
    def finish_trial(
        self, trial: TrialRecord, *, student: StoredStudent | None, rows: Sequence[StepMetrics]
    ) -> None:
        run = self._trial_run(trial)
        was_done = run.tags.get(STATUS) == "done"
        succeeded = ENDED[trial.status] == "FINISHED"
        if was_done and not succeeded:
            return
        had, has = int(run.tags.get(POINTS, "0")), point_count(rows)
        if has > had or not was_done:
            self._record(run.id, self._known(run).missing(rows))
        # A reused trial took no time; the time of its training is already recorded.
        finals = {**trial.metrics, **trial.sizes}
        if not was_done:
            finals[SECONDS] = trial.seconds
        self._record_finals(run, finals)
        if student is not None:
            self._student(run, student)
        names = sorted({*final_names(run.tags), *trial.metrics})
        self._set(run, {METRICS: ",".join(names), POINTS: str(max(had, has))})
        if trial.reason and not succeeded:
            self._set(run, {REASON: cut(trial.reason, TAG_LIMIT)})
        elif REASON in run.tags:
            self._runs.remove_tag(run.id, REASON)
        # The status comes last: a run with status "done" is complete.
        self._set(run, {STATUS: "done" if succeeded else trial.status})
        if run.status != ENDED[trial.status]:
            self._runs.set_status(run.id, ENDED[trial.status])

    @override
    def log_job_files(self, files: Mapping[str, Path]) -> None:
        assert self._job is not None, "start_job comes first"
        for artifact, path in files.items():
            self._runs.put(self._job.id, artifact, path)

    @override
    def finish_job(self, status: JobStatus, metrics: Mapping[str, float]) -> None:
        assert self._job is not None, "start_job comes first"
        self._record_finals(self._job, metrics)
        self._runs.set_tags(self._job.id, {STATUS: status})
        self._runs.set_status(self._job.id, ENDED[status])

    @override
    def close(self) -> None:
        self._runs.close()

    def _trial_run(self, trial: TrialRecord) -> Run:
        """Get or create the trial's run, and add this job's tags and params to it."""
        user = trial.user or current_user()
        note = cut(trial_note(trial, self._job_id), TAG_LIMIT)
        tags = {USER: user, **trial_tags(trial), NOTE: note}
        parent = self._parent(trial.job)
        if parent:
            tags[PARENT] = parent
        by = {KIND: "trial", HASH: trial.hash}
        run = self._get_or_create(by, trial.label, {**tags, **joined_tags(trial, {}, user)})
        absent = {key: value for key, value in tags.items() if key not in run.tags}
        self._set(run, {**absent, **joined_tags(trial, run.tags, user)})
        if trial.dataset is not None and STATUS not in run.tags:
            self._runs.log_dataset(run.id, trial.dataset)
        self._fill_in(run, by, trial_params(trial))
        self._trials[trial.hash] = run.id
        return run

    def _parent(self, job: str) -> str:
        if job and job not in self._parents:
            run = self._runs.find({KIND: "job", JOB_HASH: job})
            if run is None:
                return ""
            self._parents[job] = run.id
        return self._parents.get(job, "")

    def _get_or_create(self, by: Mapping[str, str], name: str, tags: Mapping[str, str]) -> Run:
        found = self._runs.find(by)
        if found is None:
            with self._runs.creating():
                found = self._runs.find(by) or self._created(by, name, tags)
        return found

    def _created(self, by: Mapping[str, str], name: str, tags: Mapping[str, str]) -> Run:
        created = self._runs.create(name, tags)
        found = self._runs.find(by)
        assert found is not None, "a run that was just created is found"
        if found.id != created:
            # Without a lock, another process may have created it between our two searches: the
            # older one is kept. Two that start within a millisecond can still miss each other;
            # both then keep their run, and readers use one of them.
            self._runs.discard(created)
        return found

    def _fill_in(self, run: Run, by: Mapping[str, str], params: Mapping[str, str]) -> None:
        absent = {key: value for key, value in params.items() if key not in run.params}
        try:
            self._runs.log_params(run.id, absent)
        except Exception:
            # Another process may have recorded them meanwhile, and MLflow rejects duplicates.
            now = self._runs.find(by)
            if now is None or now.params.keys() <= run.params.keys():
                raise
            left = {key: value for key, value in absent.items() if key not in now.params}
            self._runs.log_params(run.id, left)

    def _set(self, run: Run, tags: Mapping[str, str]) -> None:
        changed = {key: value for key, value in tags.items() if run.tags.get(key) != value}
        if changed:
            self._runs.set_tags(run.id, changed)

    def _known(self, run: Run) -> Recorded:
        if run.id not in self._recorded:
            self._recorded[run.id] = Recorded(self._runs.points(run))
        return self._recorded[run.id]

    def _record_finals(self, run: Run, metrics: Mapping[str, float]) -> None:
        # If nothing was logged since `run` was read, its latest values suffice; the metric
        # histories need not be read.
        if run.id in self._recorded or not _shows(run.metrics, metrics):
            self._record(run.id, self._known(run).missing_finals(metrics))

    def _record(self, run_id: str, points: Sequence[Point]) -> None:
        if not points:
            return
        try:
            self._runs.log_points(run_id, points)
        except Exception:
            del self._recorded[run_id]  # unknown how much was logged: read it again next time
            raise
        self._recorded[run_id].add(points)

    def _student(self, run: Run, student: StoredStudent) -> None:
        if self._log_students:
            folder = student.folder()
            if not folder.is_dir():
                raise FileNotFoundError(f"the student's folder {folder} does not exist")
            there = self._runs.artifacts(run.id, STUDENT_FOLDER)
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                name = path.relative_to(folder).as_posix()
                if there.get(name) != path.stat().st_size:
                    self._runs.put(run.id, f"{STUDENT_FOLDER}/{name}", path)
        self._set(run, {STUDENT: student.uri, STUDENT_DIGEST: student.digest})


def _shows(latest: Mapping[str, float], metrics: Mapping[str, float]) -> bool:
    return all(key in latest and same_value(latest[key], metrics[key]) for key in metrics)
