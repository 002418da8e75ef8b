"""The manifest of an artifact: its identity, and the size and digest of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..plan import Step

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact: its size in bytes and the hex SHA-256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The manifest; it is written last: an artifact without a manifest does not exist.

    summary: small results, readable without opening other files (metrics, counts, digests).
    seconds: run time of the step.
    place: the folder next to the manifest with the files; "" if the files are next to it.
    """

    kind: str
    hash: str
    identity: Mapping[str, Any]
    needs: Mapping[str, str]
    files: Mapping[str, FileEntry]
    summary: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    place: str = ""

    @classmethod
    def of(
        cls,
        step: Step,
        files: Mapping[str, FileEntry],
        summary: Mapping[str, Any],
        seconds: float,
        place: str = "",
    ) -> Manifest:
        """The manifest for the files that `step` produced."""
        needs = {role: needed.hash for role, needed in step.needs.items()}
        identity = dict(step.identity)
        files, summary = dict(sorted(files.items())), dict(summary)
        return cls(step.kind, step.hash, identity, needs, files, summary, seconds, place)

    @property
    def digest(self) -> str:
        """SHA-256 over one line `<sha256>  <name>` for each file, ordered by name.

        The lines have the format of `sha256sum`, which can verify a copy of the files.
        """
        lines = [f"{entry.sha256}  {name}\n" for name, entry in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        """The manifest as indented, readable JSON."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Parse the output of `to_bytes`.

        Raises:
            ValueError: it is truncated, no manifest, or of another version.
        """
        try:
            data = json.loads(content)
            files = {name: FileEntry(**entry) for name, entry in data.pop("files").items()}
            manifest = cls(files=files, **data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"cannot be read: {error}") from None
        manifest._check()
        return manifest

    def _check(self) -> None:
        """Reject values of other types, and files outside the artifact's folder."""
        texts = (self.kind, self.hash, self.place, *self.needs.values())
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("cannot be read: kind, hash, place and needs are not all text")
        for name, entry in self.files.items():
            if not (isinstance(entry.bytes, int) and isinstance(entry.sha256, str)):
                raise ValueError(f"cannot be read: the entry of {name!r} has other types")
        for name in (*self.files, self.place):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"names {name!r}, which lies outside the artifact")


def describe_bytes(content: bytes) -> FileEntry:
    """Size and digest of content in memory."""
    return FileEntry(len(content), hashlib.sha256(content).hexdigest())


def describe_file(path: Path) -> FileEntry:
    """Size and digest of a file, read in pieces."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(path.stat().st_size, digest)
