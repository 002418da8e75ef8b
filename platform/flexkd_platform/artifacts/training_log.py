"""The log of a trained student: a long Parquet table of step, metric and value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..plan import Step
from ..tracking import StepMetrics
from .published import Artifacts


def write_log(log: list[StepMetrics], path: Path) -> None:
    """Write step metrics as a long table: step, metric, value."""
    flat = [(entry.step, name, value) for entry in log for name, value in entry.values.items()]
    steps, names, values = zip(*flat, strict=True)
    table = pa.table({"step": steps, "metric": names, "value": values})
    pq.write_table(table, path)


def read_log(step: Step, artifacts: Artifacts) -> list[StepMetrics]:
    """The step metrics of a published student, in order."""
    return read_log_file(artifacts.file(step, "log.parquet"))


def read_log_file(path: Path) -> list[StepMetrics]:
    """The inverse of `write_log`."""
    grouped: dict[int, dict[str, float]] = {}
    for row in pq.ParquetFile(path).read().to_pylist():
        grouped.setdefault(row["step"], {})[row["metric"]] = row["value"]
    return [StepMetrics(number, values) for number, values in sorted(grouped.items())]
