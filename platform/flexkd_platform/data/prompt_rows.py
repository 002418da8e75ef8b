"""Rows of prompts with correct responses, collected in Arrow memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pyarrow as pa

from ..spec import Problem
from .prepared import KEY, PreparedData
from .reading import Examples

SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("references", pa.list_(pa.string())),
        (KEY, pa.string()),
    ]
)

CHUNK = 1 << 14
"""Rows that are held as Python objects at a time."""


@dataclass
class Rows:
    """Collects examples in Arrow memory, and counts the skipped rows."""

    skipped: int = 0
    prompts: list[str] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, prompt: str, references: list[str], key: str) -> None:
        """Add an example; `key` draws its split."""
        self.prompts.append(prompt)
        self.references.append(references)
        # The digest, since documents are long.
        self.keys.append(hashlib.blake2b(key.encode(), digest_size=16).hexdigest())
        if len(self.prompts) == CHUNK:
            self.pack()

    def pack(self) -> None:
        """Move the collected examples to Arrow memory."""
        first = [references[0] for references in self.references]
        columns = [self.prompts, first, self.references, self.keys]
        arrays = [
            pa.array(values, kind) for values, kind in zip(columns, SCHEMA.types, strict=True)
        ]
        self.batches.append(pa.record_batch(arrays, schema=SCHEMA))
        for values in (self.prompts, self.references, self.keys):
            values.clear()

    def table(self) -> pa.Table:
        """All examples."""
        self.pack()
        return pa.Table.from_batches(self.batches, SCHEMA)


def finish(
    rows: Rows, name: str, examples: Examples, responses: str, path: str, made: PreparedData
) -> None:
    """Put the rows of split `name` into `made`; `responses` is the key of their column."""
    table = made.tables[name] = rows.table()
    made.skipped[name] = rows.skipped
    if rows.skipped and not len(table):
        message = f"no row of {examples.origin} has both an input and a response"
        remedy = "name the columns that hold them"
        made.problems.append(Problem(f"{path}.{responses}", message, remedy))
