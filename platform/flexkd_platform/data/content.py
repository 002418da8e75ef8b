"""What is read from one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..spec import Problem


@dataclass(frozen=True)
class FileContent:
    """The wanted columns of a file.

    table: a column for each role.
    manner: how it was read, if not in the usual way of its format; part of the fingerprint.
    class_names: as those of `reading.Examples`.
    notes: what was found in the file and the spec does not state; shown as warnings.
    """

    table: pa.Table
    manner: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    notes: tuple[Problem, ...] = ()
