"""The readers of sources. To add a kind of source, add a file and a line here."""

from __future__ import annotations

from .builtin import read_builtin
from .files import read_files
from .hub import read_hub
from .reading import Reader

READERS: dict[str, Reader] = {
    "builtin": read_builtin,
    "files": read_files,
    "hub": read_hub,
}
"""By the `source` of a spec."""
