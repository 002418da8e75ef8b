"""Encode a trial as tags and params of a run, and decode it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache

from ..spec import canonical_json
from .backend import Run
from .points import restored
from .records import Json, TrialRecord, TrialStatus

PARAM_LIMIT = 6000
"""Maximum length of a param's value: MLflow's MAX_PARAM_VAL_LENGTH."""
TAG_LIMIT = 8000
"""Maximum length of a tag's value: MLflow's MAX_TAG_VAL_LENGTH."""
PARAM_IN_TAG = 400
"""Maximum length of one param in the tag with all params."""
KEY_LIMIT = 250
"""Maximum length of a name: MLflow's MAX_ENTITY_KEY_LENGTH."""

KIND = "flexkd.kind"
JOB_HASH = "flexkd.job_hash"
JOB_ID = "flexkd.job_id"
HASH = "flexkd.hash"
GROUP = "flexkd.group"
GROUP_NAME = "flexkd.group_name"  # the same for people: method and settings, without the seed
METHOD = "flexkd.method"
SEED = "flexkd.seed"
USERS = "flexkd.users"  # JSON list: everybody whose jobs use the trial
JOBS = "flexkd.jobs"  # hashes of the jobs that use the trial, oldest first
PARAMS = "flexkd.params"  # JSON object of TrialRecord.params
SHORTHAND = "flexkd.shorthand"  # JSON list: params of earlier versions that repeat a setting
STATUS = "flexkd.status"
REASON = "flexkd.reason"
METRICS = "flexkd.metrics"  # names of the metrics that are final, not of a step
POINTS = "flexkd.points"  # how many step points a finished trial has
STUDENT = "flexkd.student"  # URI of the student: the artifact's folder in the storage
STUDENT_DIGEST = "flexkd.student_sha256"  # of the student's files
OURS = "flexkd."  # what the names of these tags begin with
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"  # the description of a run, in Markdown
USER = "mlflow.user"
SECONDS = "seconds"  # the metric that holds TrialRecord.seconds


def encode_value(value: Json) -> str:
    """Encode a value as a readable string; different values have different strings.

    Strings are not quoted unless they could be parsed as another JSON value. A text longer than
    PARAM_LIMIT is cut, and ends in a digest of the full text.
    """
    text = value if isinstance(value, str) and _is_bare(value) else canonical_json(value)
    return cut(text, PARAM_LIMIT)


def decode_value(text: str) -> Json:
    """The inverse of `encode_value`, for values that were not cut."""
    try:
        value: Json = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value


_decoded = lru_cache(maxsize=4096)(decode_value)  # trials share most of their settings


def _is_bare(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return text != "" and text == text.strip()  # servers drop empty and trim blank values
    return False


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and a digest of the full text in `limit` characters."""
    if len(text) <= limit:
        return text
    end = f"… sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return text[: limit - len(end)] + end


def param_name(path: str) -> str:
    """A path with the characters and length that MLflow allows for names."""
    return cut(re.sub(r"[^/\w.\- :]", "_", path), KEY_LIMIT)


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """The params of a run: every setting once, by its full path. The tag PARAMS has short names."""
    return {param_name(path): encode_value(value) for path, value in trial.settings.items()}


def trial_tags(trial: TrialRecord) -> dict[str, str]:
    """The tags for finding and grouping the runs of trials."""
    return {
        KIND: "trial",
        HASH: trial.hash,
        GROUP: trial.group,
        GROUP_NAME: cut(trial.group_name, TAG_LIMIT),
        METHOD: trial.method,
        SEED: str(trial.seed),
    }


def joined_tags(trial: TrialRecord, old: Mapping[str, str], user: str) -> dict[str, str]:
    """The tags that grow as more jobs use a trial. old: the run's existing tags."""
    tags = {JOBS: with_job(old.get(JOBS, ""), trial.job)} if trial.job else {}
    first = [old[USER]] if USER in old else []
    users = [*json.loads(old.get(USERS, canonical_json(first))), user]
    tags[USERS] = canonical_json(list(dict.fromkeys(users)))
    params = {**json.loads(old.get(PARAMS, "{}")), **trial.params}
    tags[PARAMS] = canonical_json({path: _fitting(value) for path, value in params.items()})
    return tags


def _fitting(value: Json) -> Json:
    """The value, or its text cut to length: MLflow must not cut a tag's JSON."""
    text = encode_value(value)
    return value if len(text) <= PARAM_IN_TAG else cut(text, PARAM_IN_TAG)


def with_job(jobs: str, job: str) -> str:
    """Add a job to the list unless it is in it; if the list is too long, the oldest are removed."""
    hashes = [known for known in jobs.split(",") if known]
    if job not in hashes:
        hashes.append(job)
    while len(",".join(hashes)) > TAG_LIMIT:
        hashes.pop(0)
    return ",".join(hashes)


def read_trial(run: Run, job: str = "") -> TrialRecord | None:
    """Decode the finished trial of a run; None for other runs and unfinished trials.

    Args:
        job: hash to return as the trial's job if it is one of its jobs; otherwise the oldest.
    """
    tags = run.tags
    if tags.get(KIND) != "trial" or HASH not in tags or STATUS not in tags:
        return None
    shorthand = set(json.loads(tags.get(SHORTHAND, "[]")))
    jobs = tags.get(JOBS, "").split(",")
    return TrialRecord(
        hash=tags[HASH],
        method=tags.get(METHOD, ""),
        params=json.loads(tags.get(PARAMS, "{}")),
        settings={k: _decoded(v) for k, v in run.params.items() if k not in shorthand},
        seed=int(tags.get(SEED, "0")),
        status=_status(tags[STATUS]),
        metrics={
            key: restored(run.metrics[key]) for key in final_names(tags) if key in run.metrics
        },
        seconds=run.metrics.get(SECONDS, 0.0),
        run_id=run.id,
        job=job if job in jobs else jobs[0],
        user=tags.get(USER, ""),
        reason=tags.get(REASON, ""),
        users=tuple(json.loads(tags.get(USERS, "[]"))) or (tags.get(USER, ""),),
        jobs=tuple(filter(None, jobs)),
        started=run.started / 1000,
        tags={k: v for k, v in tags.items() if not k.startswith(OURS)},
    )


def final_names(tags: Mapping[str, str]) -> list[str]:
    """Names of a run's final metrics; MLflow does not allow commas in them."""
    return [name for name in tags.get(METRICS, "").split(",") if name]


def _status(text: str) -> TrialStatus:
    for status in ("done", "failed", "pruned"):
        if text == status:
            return status
    raise ValueError(f"tag {STATUS} is {text!r}; allowed are done, failed, pruned")
