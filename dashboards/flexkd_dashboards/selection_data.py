"""The selections of a job and the spectra of its scores, read from its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flexkd_platform.artifacts import PAIRS, UnitPairs, read_pairs
from flexkd_platform.results import JobFiles
from flexkd_platform.store import StoreError

from .report_data import ImportanceCurve, Setup, Spectrum


def importance_curves_of(job: JobFiles) -> list[ImportanceCurve]:
    """The importance that each selection of a job was made from, and its units.

    Directions have the units of their score as well, which are there once; so are random units,
    which each seed draws anew.
    """
    return [
        ImportanceCurve(
            label=_selection_label(entry),
            importance=tuple(job.importance(entry["score_hash"])),
            units=tuple(entry["units"]),
            note=_selection_note(entry),
        )
        for entry in selections_of(job)
    ]


def selections_of(job: JobFiles) -> list[Mapping[str, Any]]:
    """The entries of `selection` in a job's results, without those that differ in no unit."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {
        (entry["score_hash"], entry["d_student"], entry.get("select")): entry
        for entry in job.results["selection"]
    }
    return list(found.values())


def spectra_of(job: JobFiles) -> Iterator[Spectrum]:
    """Those of every score, without those of another kind of importance on the same moments."""
    seen: set[tuple[str, tuple[float, ...]]] = set()
    for entry in job.results["selection"]:
        geometry = job.geometry(entry["score_hash"]) or {}
        for key, name, found in (
            ("spectrum", "gradients", geometry),
            ("contribution_spectrum", "contribution", geometry.get("contribution", {})),
        ):
            values = tuple(geometry.get(key, ()))
            if "effective_dimension" not in found or (key, values) in seen:
                continue
            seen.add((key, values))
            yield Spectrum(
                label=f"{name}, layer {entry['layer']}{_drawn(entry)}",
                values=values,
                dimension=found["effective_dimension"],
                error=found.get("effective_dimension_error"),
            )


@dataclass(frozen=True)
class TrialPairs:
    """The pairs of units that one finished student ended with, at one pair of layers."""

    setup: Setup
    seed: int
    pairs: UnitPairs


def trial_pairs_of(job: JobFiles, most: int) -> tuple[list[TrialPairs], int]:
    """The published pairs of a job's students; how many students of the job were left out.

    most: how many students are read.
    """
    found: list[TrialPairs] = []
    students = left = 0
    for trial in job.results["trials"]:
        if trial["status"] not in {"done", "reused"} or not _has_pairs(job, trial["hash"]):
            continue
        if students == most:
            left += 1
            continue
        students += 1
        file = job.store.file_at("distill", trial["hash"], PAIRS)
        setup = trial["method"], trial["params"]
        found += [TrialPairs(setup, trial["seed"], pairs) for pairs in read_pairs(file)]
    return found, left


def _has_pairs(job: JobFiles, digest: str) -> bool:
    try:
        return PAIRS in job.store.manifest_at("distill", digest).files
    except StoreError:
        return False  # deleted since


def same_pairs(one: TrialPairs, other: TrialPairs) -> float | None:
    """The share of student units that two students paired with the same teacher unit.

    None where the layers or the widths differ, and for directions, which other data number anew.
    """
    ours, theirs = one.pairs, other.pairs
    if ours.teacher != theirs.teacher or len(ours.units) != len(theirs.units):
        return None
    if "directions" in (ours.target, theirs.target):
        return None
    same = sum(a == b for a, b in zip(ours.units, theirs.units, strict=True))
    return same / len(ours.units)


def _selection_label(entry: Mapping[str, Any]) -> str:
    """`layer 5, gradient, 800 samples of seed 2, 128 lowest units`."""
    select = entry.get("select", "highest")
    which = "" if select == "highest" else f"{select} "
    kind = entry["score_kind"]
    return f"layer {entry['layer']}, {kind}{_drawn(entry)}, {entry['d_student']} {which}units"


def _drawn(entry: Mapping[str, Any]) -> str:
    draw = entry.get("score_draw")
    return "" if draw is None else f", {draw['samples']} samples of seed {draw['seed']}"


def _selection_note(entry: Mapping[str, Any]) -> str:
    """The effective dimension with its error bar, and the stability over two halves of the data."""
    geometry, stability = entry.get("geometry") or {}, entry.get("stability") or {}
    parts = []
    if "effective_dimension" in geometry:
        error = geometry.get("effective_dimension_error")
        bar = "" if error is None else f" ± {error:g}"
        parts.append(
            f"effective dimension {geometry['effective_dimension']}{bar} of {entry['d_teacher']}"
        )
    if "units" in stability:
        parts.append(
            f"two halves of the data share {stability['units']:.0%} of the units (Jaccard index) "
            f"and {stability['pairs']:.0%} of the ranks"
        )
    return "; ".join(parts)
