"""Extract a model from a zip archive that is split into parts, without writing the archive."""

from __future__ import annotations

import io
import shutil
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from .checkpoint import CONFIG, TOKENIZER_FILES, WEIGHTS
from .errors import ModelError

_KEPT = frozenset({CONFIG, WEIGHTS, *TOKENIZER_FILES, "README.md", "LICENSE"})


class JoinedFiles(io.RawIOBase):
    """Several files as one, read-only and seekable."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [path.open("rb") for path in paths]
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, which may be behind the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ends[-1]}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """The position."""
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read from one of the files, up to its end."""
        number = bisect_right(self._ends, self._place)
        if number == len(self._files):
            return 0
        start = self._ends[number - 1] if number else 0
        self._files[number].seek(self._place - start)
        count = self._files[number].readinto(buffer)
        self._place += count
        return count

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        super().close()


def extract_model(parts: Sequence[Path], folder: Path, tokenizer: Path | None = None) -> None:
    """Extract config, weights, tokenizer and licence of the one model in the archive.

    Args:
        parts: of the archive, in their order.
        folder: where the files are written, without the archive's folders.
        tokenizer: not used; the archive holds the tokenizer.

    Raises:
        ModelError: the joined parts are not a zip archive, are corrupt, or hold no model, or two.
    """
    names = ", ".join(part.name for part in parts)
    again = "install the packages again"
    try:
        with io.BufferedReader(JoinedFiles(parts)) as joined, ZipFile(joined) as archive:
            members = [PurePosixPath(name) for name in archive.namelist()]
            roots = [member.parent for member in members if member.name == WEIGHTS]
            if len(roots) != 1 or roots[0] / CONFIG not in members:
                raise ModelError(
                    f"the archive {names} does not hold one {CONFIG} with {WEIGHTS}", again
                )
            for member in members:
                if member.parent == roots[0] and member.name in _KEPT:
                    with (
                        archive.open(str(member)) as source,
                        (folder / member.name).open("wb") as out,
                    ):
                        shutil.copyfileobj(source, out, 1 << 20)
    except ModelError:
        raise
    # A missing part moves the offsets of the directory, even before the start.
    except (BadZipFile, ValueError, EOFError, zlib.error) as error:
        raise ModelError(f"the parts {names} are not one zip archive: {error}", again) from None
