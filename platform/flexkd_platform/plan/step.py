"""A step: what it does, what it needs, and the hash that names its artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..spec import sha256_of
from .kinds import KINDS


@dataclass(frozen=True)
class Step:
    """A function from artifacts and a config to one artifact.

    identity: everything that decides the result, as JSON: attributes and the fingerprints of what
        is read from outside, never a path, a host, a clock or a worker count.
    run: what running it takes besides, as JSON; not part of the identity (where a model lies).
    needs: the steps whose artifacts it reads, by the role they play.
    """

    kind: str
    identity: Mapping[str, Any]
    needs: Mapping[str, Step] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of kind, code version, identity and the hashes of what it needs."""
        return sha256_of(
            {
                "kind": self.kind,
                "code": KINDS[self.kind].version,
                "identity": dict(self.identity),
                "needs": {role: step.hash for role, step in self.needs.items()},
            }
        )

    def upstream(self) -> Iterator[Step]:
        """Every step that must exist before this one, dependencies first, none twice."""
        seen: set[str] = set()
        for step in self.needs.values():
            for needed in (*step.upstream(), step):
                if needed.hash not in seen:
                    seen.add(needed.hash)
                    yield needed
