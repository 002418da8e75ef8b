"""Draw docs/geometry_spectrum.svg and docs/geometry_stability.svg from finished jobs.

    flexkd run jobs/geometry_reviews.yaml
    flexkd run jobs/geometry_docstrings.yaml
    python scripts/draw_geometry_figures.py reviews=RESULTS_JSON docstrings=RESULTS_JSON

Each argument is a label and a job's `results.json`. The steps are read from the storage that it is
in. The numbers are also printed, as Markdown tables.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).parents[1] / "docs"

SHARE = 0.95
"""Of the trace, which the effective dimension holds."""


@dataclass(frozen=True)
class Score:
    """The geometry of one score step, and its settings."""

    settings: Mapping[str, Any]
    geometry: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """How stable one selection is over the two halves of the data."""

    score: Score
    settings: Mapping[str, Any]
    count: int
    stability: Mapping[str, float]

    @property
    def name(self) -> str:
        """What was selected, by which kind of importance or moment."""
        target = str(self.settings["target"])
        if target == "units":
            how = ", diverse" if self.settings.get("select") == "diverse" else ""
            return f"units by {self.score.settings['kind']}{how}"
        return target.replace("_", " ")


@dataclass(frozen=True)
class Job:
    """The scores and selections of a job."""

    label: str
    scores: tuple[Score, ...]
    selections: tuple[Selection, ...]


def read_job(label: str, results: Path) -> Job:
    """What a job's storage has of its scores and selections."""
    steps = results.parents[2] / "steps"
    scores: dict[str, Score] = {}
    for manifest, folder in _manifests(results, steps, "score"):
        geometry = json.loads((folder / "geometry.json").read_text())
        scores[manifest["hash"]] = Score(manifest["identity"], geometry)
    selections = [
        Selection(
            scores[manifest["needs"]["score"]],
            manifest["identity"],
            manifest["summary"]["d_student"],
            manifest["summary"]["stability"],
        )
        for manifest, _ in _manifests(results, steps, "select")
    ]
    return Job(label, tuple(scores.values()), tuple(selections))


def _manifests(results: Path, steps: Path, kind: str) -> Iterator[tuple[dict[str, Any], Path]]:
    for step in json.loads(results.read_text())["steps"]:
        if step["kind"] == kind:
            folder = steps / kind / step["hash"]
            yield json.loads((folder / "manifest.json").read_text()), folder


def by_moment(job: Job) -> dict[str, Score]:
    """One score for each moment: its geometry is the same for every kind of importance."""
    found: dict[str, Score] = {}
    for score in job.scores:
        found.setdefault(str(score.settings["moment"]), score)
    return found


def draw_spectra(jobs: list[Job]) -> plt.Figure:
    """The share of the trace left out, by dimension; the effective dimension and its error."""
    figure, axes = plt.subplots(1, len(jobs), figsize=(4.6 * len(jobs), 3.6), sharey=True)
    for axis, job in zip(np.atleast_1d(axes), jobs, strict=True):
        moments = by_moment(job)
        for number, (moment, score) in enumerate(moments.items()):
            name = "M" if len(moments) == 1 else f"M per {moment}"
            _spectrum(axis, score.geometry, "spectrum", score.geometry, name, f"C{number}")
        score = next(iter(moments.values()))
        found = score.geometry["contribution"]
        _spectrum(axis, score.geometry, "contribution_spectrum", found, "contribution M Σ", "C3")
        axis.axhline(1 - SHARE, color="0.6", linewidth=0.8, linestyle="--")
        axis.set(xscale="log", yscale="log", ylim=(1e-6, 1.5), xlabel="dimensions kept")
        axis.set_title(f"{job.label}: {score.geometry['units']} units")
        axis.legend(frameon=False, fontsize=8, loc="best")
    np.atleast_1d(axes)[0].set_ylabel("share of the trace left out")
    return figure


def _spectrum(
    axis: Any, geometry: Any, key: str, dimensions: Mapping[str, Any], name: str, colour: str
) -> None:
    values_D = np.clip(geometry[key], 0, None)
    left_D = 1 - np.cumsum(values_D) / values_D.sum()
    size, error = dimensions["effective_dimension"], dimensions["effective_dimension_error"]
    label = f"{name}: {size} ± {error:g}"
    axis.plot(np.arange(1, len(left_D) + 1), left_D.clip(1e-9), color=colour, label=label)
    axis.errorbar(size, 1 - SHARE, xerr=error, fmt="o", color=colour, capsize=3, markersize=5)


MEASURES = {
    "units": "same set (Jaccard)",
    "pairs": "same rank",
    "subspace": "same subspace",
    "directions": "directions that recur",
}
"""Each measure of stability, as the figure names it."""


def rows_of(job: Job) -> list[tuple[str, dict[str, float]]]:
    """By selection, each measure as a share; the moment is named where there are two."""
    several = len(by_moment(job)) > 1
    rows: dict[str, dict[str, float]] = {}
    for selection in job.selections:
        own = dict(selection.stability)
        name = selection.name
        if selection.settings["target"] == "units":
            own = {key: own[key] for key in ("units", "pairs")}
        else:
            own = {"subspace": own["subspace"], "directions": own["directions"] / selection.count}
            name += f", per {selection.score.settings['moment']}" if several else ""
        rows[name] = own
    return sorted(rows.items(), key=lambda row: ("units" not in row[1], row[0]))


def draw_stability(jobs: list[Job]) -> plt.Figure:
    """Bars of every measure for every selection: two for sets of units, two for directions."""
    height = max(len(rows_of(job)) for job in jobs)
    figure, axes = plt.subplots(1, len(jobs), figsize=(5.4 * len(jobs), 0.5 * height + 1.2))
    for axis, job in zip(np.atleast_1d(axes), jobs, strict=True):
        rows = rows_of(job)[::-1]
        for place, (_, measures) in enumerate(rows):
            for offset, (measure, value) in zip((0.2, -0.2), measures.items(), strict=True):
                colour = f"C{list(MEASURES).index(measure)}"
                axis.barh(place + offset, value, height=0.36, color=colour)
                axis.text(value + 0.01, place + offset, f"{value:.2f}", va="center", fontsize=7)
        axis.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
        axis.set(xlim=(0, 1.12), xlabel="share over the two halves of the data", title=job.label)
    keys = [plt.Rectangle((0, 0), 1, 1, color=f"C{i}") for i in range(len(MEASURES))]
    figure.legend(keys, MEASURES.values(), ncols=len(MEASURES), frameon=False, loc="upper center")
    return figure


def print_tables(jobs: list[Job]) -> None:
    """The numbers of both figures."""
    columns = (
        "data",
        "moment",
        "gradients",
        "effective dimension",
        "participation",
        "contribution",
    )
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for job in jobs:
        for moment, score in by_moment(job).items():
            found, contribution = score.geometry, score.geometry["contribution"]
            print(
                f"| {job.label} | {moment} | {found['rows']:,} | {_dimension(found)} "
                f"| {found['participation_ratio']:.1f} | {_dimension(contribution)} |"
            )
    print(f"\n| data | selection | {' | '.join(MEASURES.values())} |\n|---|---|---|---|---|---|")
    for job in jobs:
        for name, measures in rows_of(job):
            cells = [f"{measures[key]:.2f}" if key in measures else "" for key in MEASURES]
            print(f"| {job.label} | {name} | {' | '.join(cells)} |")


def _dimension(found: Mapping[str, Any]) -> str:
    return f"{found['effective_dimension']} ± {found['effective_dimension_error']:g}"


def main() -> None:
    """Read the jobs, draw both figures and print their numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="+", metavar="LABEL=RESULTS_JSON")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the two figures")
    given = parser.parse_args()
    pairs = [each.partition("=") for each in given.jobs]
    jobs = [read_job(label, Path(path).resolve()) for label, _, path in pairs]
    mpl.rcParams |= {"svg.hashsalt": "flexkd", "svg.fonttype": "none", "axes.spines.top": False}
    mpl.rcParams |= {"axes.spines.right": False, "font.size": 9}
    for name, figure in (("spectrum", draw_spectra(jobs)), ("stability", draw_stability(jobs))):
        top = 0.9 if name == "stability" else 1.0
        figure.tight_layout(rect=(0, 0, 1, top))
        figure.savefig(given.out / f"geometry_{name}.svg", metadata={"Date": None})
    print_tables(jobs)


if __name__ == "__main__":
    main()
