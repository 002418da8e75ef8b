"""The artifacts that a step of a job was made from, by its `plan.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec import Problem, SpecError
from .query import JobFiles


@dataclass(frozen=True)
class Lineage:
    """The steps of a job and what each needs.

    kinds: hash → kind.
    needs: hash → hashes of what it reads directly.
    """

    kinds: Mapping[str, str]
    needs: Mapping[str, Sequence[str]]

    def upstream(self, digest: str, kind: str) -> list[str]:
        """The steps of a kind that a step depends on, the nearest first."""
        return [found for found in self._before(digest) if self.kinds.get(found) == kind]

    def all_of(self, kind: str) -> list[str]:
        """All steps of a kind, in the order of the plan."""
        return [digest for digest, own in self.kinds.items() if own == kind]

    def _before(self, digest: str) -> Iterator[str]:
        seen, level = {digest}, [digest]
        while level:
            level = list(dict.fromkeys(n for step in level for n in self.needs.get(step, ())))
            level = [needed for needed in level if needed not in seen]
            seen.update(level)
            yield from level


def lineage_of(job: JobFiles) -> Lineage:
    """The lineage of a job's steps.

    Raises:
        SpecError: its plan is missing or damaged.
    """
    try:
        steps: list[dict[str, Any]] = json.loads(job.folder.read("plan.json"))["steps"]
        kinds = {step["hash"]: step["kind"] for step in steps}
        return Lineage(kinds, {step["hash"]: list(step["needs"].values()) for step in steps})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{job.folder.place('plan.json')} cannot be read: {error}"
        raise SpecError([Problem("", text, "run the job's spec again, which writes it")]) from None


def teacher_of(lineage: Lineage, trial: str) -> str | None:
    """The teacher of a trial; of one whose loss reads none, the job's first; None without any."""
    found = lineage.upstream(trial, "teacher") or lineage.all_of("teacher")
    return found[0] if found else None
