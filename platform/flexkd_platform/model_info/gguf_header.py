"""Read the names and shapes of tensors from the header of a GGUF file.

The format: magic, version, number of tensors and of metadata entries; the entries (key, type,
value); per tensor its name, dimensions from the innermost, type and offset; the data, aligned.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

The package `gguf` reads it too, but takes seconds for a vocabulary, which is skipped here.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by the number of its type."""

_U32, _STRING, _ARRAY = 4, 8, 9

Tensors = dict[str, tuple[int, ...]]


def read_header(file: Path) -> tuple[str, Tensors]:
    """Architecture, and name and shape (outermost first) of every tensor.

    Raises:
        ValueError: the file is not a GGUF file of version 2 or 3, or is truncated.
    """
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _read(_Cursor(data), len(data))
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"its header is broken or cut off ({error})") from None


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.place = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self._data, self.place)
        self.place += struct.calcsize(f"<{form}")
        return int(value)

    def text(self) -> bytes:
        start = self.place + 8
        self.place = start + self.number("Q")
        return self._data[start : self.place]

    def skip(self, kind: int) -> None:
        if kind == _STRING:
            self.text()
        elif kind == _ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in _SIZES:
                self.place += count * _SIZES[inner]
            else:
                for _ in range(count):
                    self.skip(inner)
        else:
            self.place += _SIZES[kind]


def _read(cursor: _Cursor, size: int) -> tuple[str, Tensors]:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # an optional package

    magic, version = cursor.number("I"), cursor.number("I")
    if magic != int.from_bytes(b"GGUF", "little") or version not in (2, 3):
        raise ValueError("it does not begin as one of version 2 or 3")
    count, entries = cursor.number("Q"), cursor.number("Q")
    architecture, alignment = "", 32
    for _ in range(entries):
        key, kind = cursor.text(), cursor.number("I")
        if key == b"general.architecture" and kind == _STRING:
            architecture = cursor.text().decode()
        elif key == b"general.alignment" and kind == _U32:
            alignment = cursor.number("I")
        else:
            cursor.skip(kind)
    tensors: Tensors = {}
    end = 0
    for _ in range(count):
        name = cursor.text().decode()
        shape = [cursor.number("Q") for _ in range(cursor.number("I"))]
        block, width = GGML_QUANT_SIZES[GGMLQuantizationType(cursor.number("I"))]
        end = max(end, cursor.number("Q") + math.prod(shape) // block * width)
        tensors[name] = tuple(reversed(shape))
    expected = -(-cursor.place // alignment) * alignment + end
    if size < expected:
        raise ValueError(f"it is cut off: it has {size} bytes and should have {expected}")
    return architecture, tensors
