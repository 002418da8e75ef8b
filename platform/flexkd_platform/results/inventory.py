"""What a storage holds: artifacts with the jobs that use them, damage, and what no job needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyarrow import fs

from ..store import QUARANTINE, DamagedArtifactError, Store, StoreError

Key = tuple[str, str]


@dataclass(frozen=True)
class StoredArtifact:
    """A published artifact. jobs: the ids of the jobs whose plan names it. damaged: why."""

    kind: str
    hash: str
    bytes: int
    jobs: tuple[str, ...]
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Garbage:
    """A folder or file in the storage that no job needs. reason: why."""

    path: str
    bytes: int
    reason: str


class UnreadablePlanError(StoreError):
    """The plan of a job cannot be read, so that what it needs is not known."""


def artifacts(store: Store, *, verify: bool = False) -> Iterator[StoredArtifact]:
    """Every published artifact, by kind and hash.

    verify: whether to compare its files with its manifest, which reads all of them.

    Raises:
        UnreadablePlanError: see there.
    """
    used = references(store)
    for kind in store.list_folder("steps"):
        for digest in store.list_folder(f"steps/{kind}"):
            jobs = tuple(used.get((kind, digest), ()))
            try:
                size = sum(e.bytes for e in store.manifest_at(kind, digest).files.values())
                damaged = tuple(store.damage(kind, digest, download=True)) if verify else ()
            except DamagedArtifactError as error:
                size, damaged = 0, error.reasons
            except StoreError:
                continue  # files without a manifest: no artifact, or one that is being published
            yield StoredArtifact(kind, digest, size, jobs, damaged)


def references(store: Store) -> Mapping[Key, list[str]]:
    """The ids of the jobs that use each artifact, from their `plan.json`.

    Raises:
        UnreadablePlanError: see there.
    """
    used: dict[Key, list[str]] = {}
    for job in store.list_folder("jobs"):
        try:
            steps = json.loads(store.read_file(f"jobs/{job}/plan.json"))["steps"]
            keys = [(step["kind"], step["hash"]) for step in steps]
        except FileNotFoundError:
            continue  # a job that ended before it had a plan
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadablePlanError(
                f"{store.uri_of(f'jobs/{job}/plan.json')} cannot be read: {error}; run the job's "
                "spec again, which writes it, or delete the job's folder"
            ) from None
        for key in keys:
            used.setdefault(key, []).append(job)
    return used


def garbage(store: Store) -> list[Garbage]:
    """What can be deleted: nothing in it is named by the plan of a job in this storage.

    Raises:
        UnreadablePlanError: see there.
    """
    used = references(store)
    found = [
        Garbage(f"steps/{artifact.kind}/{artifact.hash}", artifact.bytes, "used by no job")
        for artifact in artifacts(store)
        if not artifact.jobs
    ]
    known = {f"{kind}-{digest}" for kind, digest in used}
    for name in store.list_folder("parts"):
        if name not in known:
            found.append(_measured(store, f"parts/{name}", "chunks or checkpoints of no job"))
    for name in store.list_folder(QUARANTINE):
        found.append(_measured(store, f"{QUARANTINE}/{name}", "damaged"))
    return found


def _measured(store: Store, path: str, reason: str) -> Garbage:
    place = f"{store.root}/{path}"
    info = store.filesystem.get_file_info(place)
    if info.type == fs.FileType.File:
        return Garbage(path, info.size, reason)
    inside = store.filesystem.get_file_info(fs.FileSelector(place, recursive=True))
    return Garbage(path, sum(each.size for each in inside if each.is_file), reason)


def delete(store: Store, found: Garbage) -> None:
    """Delete what `garbage` found."""
    if store.filesystem.get_file_info(f"{store.root}/{found.path}").type == fs.FileType.File:
        store.drop_file(found.path)
    else:
        store.drop_folder(found.path)
