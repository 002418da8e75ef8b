"""Find files that earlier versions misread, so that their data sets have another identity.

They read with pyarrow 25 in blocks of 1 MiB. If a block ended between the two bytes of a line end
(CR LF) inside a quoted field, the second byte was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .dialect import USUAL, Dialect, long_fields

_BLOCK = 1 << 20


def misread_before(file: Path, dialect: Dialect, places: set[int]) -> bool:
    """Whether a wanted field has a line end that lies on two blocks.

    Args:
        file: a CSV file with a header that is not broken.
        dialect: others than the usual one of CSV were not read at all.
        places: of the wanted columns.
    """
    if dialect != USUAL[".csv"] or not (ends := _split_ends(file)):
        return False
    end = 3 if _has_mark(file) else 0

    def counted(lines: Iterable[str]) -> Iterator[str]:
        nonlocal end
        for line in lines:
            end += len(line.encode())
            yield line

    with long_fields(), file.open(encoding="utf-8-sig", newline="") as stream:
        start = end
        for row in dialect.reader(counted(stream)):
            # The line end at the end of a row is no part of a field.
            within = any(start < split < end for split in ends)
            if within and any("\r\n" in row[place] for place in places):
                return True
            start = end
    return False


def _split_ends(file: Path) -> list[int]:
    """Offsets behind the line ends that lie on two blocks."""
    size, ends = file.stat().st_size, []
    with file.open("rb") as stream:
        for edge in range(_BLOCK, size, _BLOCK):
            stream.seek(edge - 1)
            if stream.read(2) == b"\r\n":
                ends.append(edge + 1)
    return ends


def _has_mark(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(3) == b"\xef\xbb\xbf"
