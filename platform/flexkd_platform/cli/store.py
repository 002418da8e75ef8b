"""`flexkd store`: list, verify and clean up a storage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.filesize import decimal
from rich.table import Table

from ..results.inventory import StoredArtifact, artifacts, delete, garbage
from ..spec import Problem, SpecError, counted
from ..store import Store, StoreError, open_store
from .console import out


def list_artifacts(storage: str, as_json: bool) -> int:
    """Print the artifacts, their sizes and the jobs that use them."""
    with _opened(storage) as store:
        found = list(artifacts(store))
    if as_json:
        print(json.dumps([asdict(artifact) for artifact in found]))
        return 0
    _print_table(found)
    return 0


def verify(storage: str, set_aside: bool, as_json: bool) -> int:
    """Compare every artifact with its manifest; 1 if some are damaged."""
    with _opened(storage) as store:
        found = list(artifacts(store, verify=True))
        damaged = [artifact for artifact in found if artifact.damaged]
        places = [store.set_aside(a.kind, a.hash) for a in damaged] if set_aside else []
    if as_json:
        rows = [asdict(artifact) for artifact in damaged]
        print(json.dumps({"verified": len(found), "damaged": rows, "set_aside": places}))
        return 1 if damaged else 0
    for artifact in damaged:
        out.print(f"damaged: {artifact.kind} {artifact.hash}", soft_wrap=True, markup=False)
        for reason in artifact.damaged:
            out.print(f"  {reason}", soft_wrap=True, markup=False)
        used = ", ".join(artifact.jobs) or "no job"
        out.print(f"  used by {used}", soft_wrap=True, markup=False)
    size = decimal(sum(artifact.bytes for artifact in found))
    out.print(f"{counted(len(found), 'artifact')} of {size} verified, {len(damaged)} damaged")
    if places:
        out.print("moved to quarantine/; running the jobs again creates them anew")
    elif damaged:
        out.print("running the jobs again creates them anew; --set-aside moves them to quarantine/")
    return 1 if damaged else 0


def collect_garbage(storage: str, really: bool, as_json: bool) -> int:
    """Print what no job needs; delete it only if `really`."""
    with _opened(storage) as store:
        found = garbage(store)
        if really:
            for each in found:
                delete(store, each)
    if as_json:
        print(json.dumps({"deleted": really, "found": [asdict(each) for each in found]}))
        return 0
    for each in found:
        line = f"{each.path}  {decimal(each.bytes)}, {each.reason}"
        out.print(line, soft_wrap=True, markup=False)
    size = decimal(sum(each.bytes for each in found))
    if really:
        out.print(f"deleted {counted(len(found), 'entry', 'entries')}, {size}")
    elif found:
        out.print(f"{counted(len(found), 'entry', 'entries')}, {size}; --delete deletes them")
    else:
        out.print("nothing to delete: the jobs in this storage use every artifact")
    return 0


@contextmanager
def _opened(storage: str) -> Iterator[Store]:
    try:
        store = open_store(storage)
        if not any(map(store.list_folder, ("jobs", "steps"))):
            raise StoreError(f"{store.uri} has neither jobs nor artifacts")
        yield store
    except (StoreError, OSError) as error:
        raise SpecError([Problem("--storage", str(error), "name a storage of jobs")]) from None


def _print_table(found: Iterable[StoredArtifact]) -> None:
    table = Table("kind", "hash", "size", "jobs")
    total = count = 0
    for artifact in found:
        total, count = total + artifact.bytes, count + 1
        jobs = ", ".join(artifact.jobs) or "none"
        note = f"damaged: {artifact.damaged[0]}" if artifact.damaged else decimal(artifact.bytes)
        table.add_row(artifact.kind, artifact.hash[:12], note, jobs)
    out.print(table)
    out.print(f"{counted(count, 'artifact')}, {decimal(total)}")
