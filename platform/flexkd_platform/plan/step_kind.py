"""A kind of step: its name, the version of its code, where it runs, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

RunsOn = Literal["driver", "task", "pass", "trial"]


class SummaryLine(Protocol):
    """Formats the result of a published step."""

    def __call__(self, summary: Mapping[str, Any], metric: str = "") -> str:
        """One line without a line break; "" if there is nothing to report.

        Args:
            summary: the summary in the step's manifest.
            metric: the metric that ranks the job's trials, as `test/accuracy`.
        """
        ...


def no_summary(summary: Mapping[str, Any], metric: str = "") -> str:
    """The summary line of a step whose manifest holds nothing worth showing."""
    return ""


def metrics_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """Every metric of a model."""
    return ", ".join(f"{name} {value:.4f}" for name, value in summary["metrics"].items())


def truncations(lengths: Mapping[str, Any]) -> list[str]:
    """Phrases such as `950 of 1,000 train prompts truncated`, of the `lengths` in a summary."""
    return [
        f"{kind['cut']:,} of {found['rows']:,} {split} {name} truncated"
        for split, found in lengths.items()
        for name, kind in found.items()
        if name != "rows" and kind["cut"]
    ]


@dataclass(frozen=True)
class StepKind:
    """Properties of all steps of one kind.

    name: part of each step's hash and of the artifact's path.
    version: part of each step's hash; incremented when the meaning of the step's code changes, so
        that artifacts of the old code are not reused.
    label: name of the kind for users.
    runs_on: `driver`, for work shorter than the start of a worker; `task`, on one worker; `pass`,
        in chunks on any number of workers; `trial`, on the workers of a trial.
    summary_line: formats the result of a published step.
    """

    name: str
    version: int
    label: str
    runs_on: RunsOn
    summary_line: SummaryLine = no_summary
