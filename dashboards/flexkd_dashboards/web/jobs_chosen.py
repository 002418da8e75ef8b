"""The jobs, students and groups that a query chooses, and the fields that choose them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from flexkd_platform.results import JobFiles
from flexkd_platform.store import StoreError

from ..labels import GroupKey, group_key, setup_labels
from ..markup import Content, Markup, joined, tag
from .blocks import Note
from .forms import Checks, Select
from .page import NotFoundError, View
from .query import Query, url
from .sources import Sources, UnavailableError

MOST_OFFERED = 300
"""Jobs in a list to choose from, the newest first; a link may name any job."""

NO_JOBS = "No job in the storage has results yet: run one with flexkd run."

FINISHED = frozenset({"done", "reused"})

Trial = Mapping[str, Any]
"""An entry of `trials` in `results.json`."""


def jobs_with_results(sources: Sources) -> list[str]:
    """The ids of jobs that have results, the newest first.

    Raises:
        UnavailableError: the storage cannot be read.
    """
    ids = sources.job_ids()
    store = sources.store()
    try:
        paths = [f"{store.root}/jobs/{job_id}/results.json" for job_id in ids]
        infos = store.filesystem.get_file_info(paths)
    except (StoreError, OSError, pa.ArrowException) as error:
        raise UnavailableError(f"The storage cannot be read: {error}.") from None
    known = [
        (info.mtime_ns or 0, job) for info, job in zip(infos, ids, strict=True) if info.is_file
    ]
    return [job for _, job in sorted(known, reverse=True)]


def chosen_jobs(sources: Sources, query: Query, ids: Sequence[str], most: int) -> list[JobFiles]:
    """The job that a query names, the newest without one, and those that it adds, up to `most`.

    Raises:
        NotFoundError: there is no such job.
        SpecError: its results are damaged.
    """
    wanted = [query.text("job") or ids[0], *query.all("with")]
    return [_opened(sources, job) for job in dict.fromkeys(wanted)][:most]


def _opened(sources: Sources, job_id: str) -> JobFiles:
    if job_id not in sources.job_ids():
        raise NotFoundError(f"The storage has no job {job_id}; the jobs page lists those it has.")
    try:
        return sources.job(job_id)
    except FileNotFoundError:
        raise NotFoundError(f"The job {job_id} has no results yet.") from None


def of_storage(build: Callable[[Sources, Query], View]) -> Callable[[Sources, Query], View]:
    """A page that reads artifacts: one that is missing or damaged is a sentence on it."""

    def built(sources: Sources, query: Query) -> View:
        try:
            return build(sources, query)
        except (StoreError, OSError) as error:
            raise UnavailableError(f"The storage cannot be read: {error}.") from None

    return built


def links_of(job_id: str) -> Note:
    """Links to the pages about one job."""
    links = (
        tag("a", text, href=url(path, [("job", job_id)]))
        for path, text in (
            ("pareto", "Pareto"),
            ("selection", "Selection"),
            ("representations", "Representations"),
            ("errors", "Errors"),
        )
    )
    return Note(joined("More of this job: ", *_spaced(links)))


def _spaced(links: Iterable[Markup]) -> Iterator[Content]:
    for place, link in enumerate(links):
        yield from ([", ", link] if place else [link])


def job_field(ids: Sequence[str], now: str) -> Select:
    """The job of a page."""
    offered = dict.fromkeys([*ids[:MOST_OFFERED], now])
    return Select("job", "Job", {job: job for job in offered}, default=now)


def others_field(ids: Sequence[str], now: str) -> Checks:
    """Jobs that are shown beside it."""
    others = {job: job for job in ids[:MOST_OFFERED] if job != now}
    return Checks("with", "Together with", others, none="no other job")


def finished_trials(job: JobFiles) -> list[Trial]:
    """The trials of a job that have a student, in the order of the plan."""
    return [trial for trial in job.results["trials"] if trial["status"] in FINISHED]


def labels_of(job: JobFiles) -> dict[GroupKey, str]:
    """A short label for each method and setting of a job."""
    return setup_labels([(trial["method"], trial["params"]) for trial in job.results["trials"]])


def group_label(job: JobFiles, entry: Trial) -> str:
    """The label of the method and settings of a trial or group."""
    return labels_of(job)[group_key(entry["method"], entry["params"])]


def group_value(entry: Trial) -> str:
    """What names a group in a link: `flexkd,alpha=0.5`; the same whatever else the job has."""
    params = (f"{name}={value}" for name, value in sorted(entry["params"].items()))
    return ",".join([entry["method"], *params])


def groups_of(job: JobFiles) -> dict[str, list[Trial]]:
    """The finished trials of a job by `group_value`, in the order of the plan."""
    found: dict[str, list[Trial]] = {}
    for trial in finished_trials(job):
        found.setdefault(group_value(trial), []).append(trial)
    return found
