"""`flexkd export`: a student as a folder, in MLflow's model registry, or on the hub."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export import Student, find_student, parse_target
from ..spec import Problem, SpecError
from ..tracking import RegistryError, shown_uri
from .common import job_files, tracking_uri
from .console import err, out

if TYPE_CHECKING:
    from ..export.folder import Exported  # imports torch


FORMATS = ("safetensors",)
"""The default formats of the weights."""


@dataclass(frozen=True)
class Places:
    """Where a student goes: to a folder, a name in the registry, a repository of the hub.

    formats: of the weights in the folder.
    public: whether a new repository can be read by everyone.
    """

    folder: Path | None
    formats: tuple[str, ...] = FORMATS
    register: str = ""
    push: str = ""
    public: bool = False


def export(target: str, places: Places, storage: str, tracking: str, as_json: bool) -> int:
    """Take out the student that `target` names, and print what was chosen and written."""
    wanted = parse_target(target)
    if problems := _place_problems(places):
        raise SpecError(problems)
    student = find_student(job_files(storage, wanted.job), wanted)
    uri, problems = _problems(student, places, storage, tracking)
    if problems:
        raise SpecError(problems)
    numbers: dict[str, Any] = _student_json(student)
    code = 0
    with tempfile.TemporaryDirectory() as scratch:
        if places.folder is not None or places.push:
            folder = places.folder or Path(scratch, "model")
            numbers |= _folder_json(_written(student, folder, places), places.folder)
        if places.register:
            code |= _registered(student, uri, places.register, numbers)
        if places.push:
            code |= _pushed(student, folder, places, numbers)
    if as_json:
        print(json.dumps(numbers, ensure_ascii=False))
    else:
        _show(student, numbers)
    return code


def _place_problems(places: Places) -> list[Problem]:
    """Problems that show without the job."""
    if places.folder is None and not places.register and not places.push:
        remedy = "name a new folder, or give --register or --push-to-hub"
        return [Problem("DIR", "there is nowhere to write to", remedy)]
    if places.folder is None and not places.push and places.formats != FORMATS:
        remedy = "name a folder, or leave it out: MLflow keeps safetensors"
        return [Problem("--format", "it is for a folder or the hub", remedy)]
    if places.public and not places.push:
        message = "only a repository of the hub is public or private"
        return [Problem("--public", message, "leave it out, or give --push-to-hub")]
    return []


def _problems(
    student: Student, places: Places, storage: str, tracking: str
) -> tuple[str, list[Problem]]:
    """The tracking URI, and everything that prevents the export; nothing is written."""
    # Imports torch, for which a target that means nothing should not wait.
    from ..export.folder import folder_problems, format_problems
    from ..export.hub import hub_problems
    from ..export.registering import register_problems

    problems = [] if places.folder is None else folder_problems(places.folder)
    problems += format_problems(student, places.formats)
    uri = ""
    if places.register:
        uri, found = tracking_uri(tracking, storage)
        problems += found or register_problems(student, uri, places.register)
    if places.push:
        problems += hub_problems(places.push)
    return uri, problems


def _written(student: Student, folder: Path, places: Places) -> Exported:
    from ..export.folder import write_student

    return write_student(student, folder, places.formats)


def _registered(student: Student, uri: str, name: str, numbers: dict[str, Any]) -> int:
    from ..export.registering import register_student

    try:
        made = register_student(student, uri, name)
    except RegistryError as error:
        err.print(f"error: {error}", markup=False)
        return 1
    numbers["registered"] = {
        "name": made.name,
        "version": made.version,
        "uri": made.uri,
        "tracking_uri": shown_uri(uri),
    }
    return 0


def _pushed(student: Student, folder: Path, places: Places, numbers: dict[str, Any]) -> int:
    from ..export.hub import PushError, push_folder

    message = f"Export {student.label}"
    try:
        page = push_folder(folder, places.push, public=places.public, message=message)
    except PushError as error:
        err.print(f"error: {error}", markup=False)
        return 1
    numbers["pushed"] = {"repository": places.push, "url": page}
    return 0


def _student_json(student: Student) -> dict[str, Any]:
    trial = student.trial
    return {
        "job": student.job_id,
        "trial": {
            "hash": trial.hash,
            "method": trial.method,
            "params": dict(trial.params),
            "seed": trial.seed,
            "metrics": dict(trial.metrics),
        },
        "chosen_by": student.chosen_by,
    }


def _folder_json(exported: Exported, folder: Path | None) -> dict[str, Any]:
    return {
        "folder": None if folder is None else str(folder),
        "files": list(exported.files),
        "parameters": exported.parameters,
        "notes": list(exported.notes),
    }


def _show(student: Student, numbers: dict[str, Any]) -> None:
    lines = [f"student: {student.label}"]
    if student.chosen_by is not None:
        value = student.trial.metrics[student.chosen_by]
        lines.append(
            f"chosen by {student.chosen_by} ({value:.4f}) from {student.candidates} trials"
        )
    if numbers.get("folder"):
        files = ", ".join(numbers["files"])
        lines.append(f"written: {numbers['folder']}: {files}; {numbers['parameters']:,} parameters")
    lines += [f"note: {note}" for note in numbers.get("notes", [])]
    if "registered" in numbers:
        made = numbers["registered"]
        lines.append(f"registered: {made['uri']} in {made['tracking_uri']}")
    if "pushed" in numbers:
        lines.append(f"pushed: {numbers['pushed']['url']}")
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
