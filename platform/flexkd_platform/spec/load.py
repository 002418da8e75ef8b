"""Load a `JobSpec` from YAML, and report all problems at once."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .document import PathPart, join_path, line_of, parse_yaml, set_path, split_path
from .duration import duration_problems
from .expand import expanded
from .job import JobSpec
from .naming import naming_problems
from .overlap import overlap_problems
from .plugins import load_plugins
from .problems import Problem, SpecError, did_you_mean
from .schema import schema_at
from .search import GridSearch
from .task_defaults import with_task_defaults
from .wording import EXPECTED, either, expectation

NAMES = re.compile(r"[\w.-]+")
"""The names in a list of what is allowed."""

AXIS_ROOTS = ("task", "teacher", "student", "score", "distill")
"""Sections that an axis may vary: those that affect a trial's result."""


def load_spec(path: Path, overrides: Sequence[str] = ()) -> JobSpec:
    """Read a job spec and apply `path=value` overrides to it.

    Raises:
        SpecError: lists all problems, each with its path and line.
    """
    source = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(
            [Problem("", f"cannot read {path}: {reason}", "give the path of a job spec in YAML")],
            source,
        ) from None
    return parse_spec(text, overrides, source=source, folder=path.parent)


def parse_spec(
    text: str, overrides: Sequence[str] = (), *, source: str = "", folder: Path = Path()
) -> JobSpec:
    """Read the YAML of a job spec; see `load_spec`.

    source: what messages call it. folder: where its plugins are looked for.
    """
    data = parse_yaml(text, source)
    if not isinstance(data, dict):
        given = "nothing" if data is None else f"a {type(data).__name__}"
        problem = Problem(
            "", f"the file contains {given}", "a job spec is a mapping: name, sweep, …"
        )
        raise SpecError([problem], source)
    data = _plain(data, source)
    problems = _apply(data, overrides)
    problems += duration_problems(data)
    unloaded = load_plugins(data, folder.absolute())
    spec, found = _validate(data)
    found = [*unloaded, *found]
    # A value that came from the command line has no line in the file.
    overridden = [split_path(override.partition("=")[0]) for override in overrides]
    for problem in found:
        where = split_path(problem.path)
        in_file = not any(where[: len(parts)] == parts for parts in overridden)
        problems.append(replace(problem, line=line_of(text, where) if in_file else None))
    if problems or spec is None:
        raise SpecError(problems, source)
    return spec


def spec_with(spec: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """`spec` with the values of some dotted paths changed, validated again.

    Raises:
        SpecError: a path does not name a field, or a value is not allowed there.
    """
    data = spec.to_json()
    problems = _apply_values(data, changes)
    changed, found = _validate_expanded(data)
    if problems or changed is None:
        raise SpecError([*problems, *found])
    return changed


def _plain(data: Any, source: str) -> Any:
    """Convert to JSON values: keys become strings, and each use of a YAML anchor is a copy."""
    try:
        return json.loads(json.dumps(data, default=str))
    except ValueError:
        message = "an anchor refers to itself"
        remedy = "write the values out in place of the reference"
    except RecursionError:
        message, remedy = "anchors are nested too deeply", "write the values out"
    except TypeError:
        message, remedy = "a key is neither text nor a number", "quote it"
    raise SpecError([Problem("", message, remedy)], source)


def _apply(data: dict[str, Any], overrides: Sequence[str]) -> list[Problem]:
    """Apply `path=value` strings, the values read as YAML."""
    problems = []
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            remedy = "write --set path=value, as --set distill.epochs=3"
            problems.append(Problem("--set", f"{override!r} is not an assignment", remedy))
            continue
        try:
            parsed = parse_yaml(value, "--set")
        except SpecError as error:
            problems += [Problem(path, p.message, "quote the value") for p in error.problems]
            continue
        try:
            problems += _apply_values(data, {path: _plain(parsed, "--set")})
        except SpecError as error:
            problems += [replace(problem, path=path) for problem in error.problems]
    return problems


def _apply_values(data: dict[str, Any], changes: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for path, value in changes.items():
        try:
            set_path(data, path, copy.deepcopy(value))  # a longer path may change it next
        except ValueError as error:
            problems.append(Problem(path, str(error), "name a field of the spec"))
    return problems


def _validate(data: dict[str, Any]) -> tuple[JobSpec | None, list[Problem]]:
    """Expand lists and distributions, validate, and check axis values and distribution edges."""
    one_valued, origins = expanded(data)
    spec, problems = _validate_expanded(one_valued)
    # The axes are checked against the spec without them, so that both kinds of problems are found.
    if spec is not None:
        problems += naming_problems(spec)
        problems += [*_search_problems(spec), *_axis_problems(spec), *_space_problems(spec)]
        problems += overlap_problems(spec)
    return spec, _unique(origins.of(problem) for problem in problems)


def _validate_expanded(data: dict[str, Any]) -> tuple[JobSpec | None, list[Problem]]:
    data = with_task_defaults(data)
    try:
        # JSON mode: strict about types, but accepts a list for a tuple and 1 for a float.
        return JobSpec.model_validate_json(json.dumps(data, default=str)), []
    except ValidationError as error:
        # Pydantic counts valid items only: one invalid seed also reports too few items.
        found = [d for d in error.errors() if d["type"] != "too_short" or not d["input"]]
        problems = [_problem(detail, data) for detail in _within_unions(found, data)]
        return None, _unique(problems)


def _within_unions(details: Sequence[ErrorDetails], data: Any) -> list[ErrorDetails]:
    """Drop the errors of union variants that a mapping cannot be: for a wrong key in `{config: …}`,
    pydantic also reports that the mapping is not a string.
    """
    places = [_real_path(d["loc"], data, absent=d["type"] == "missing") for d in details]

    def has_problem_inside(place: tuple[PathPart, ...]) -> bool:
        return any(o[: len(place)] == place and len(o) > len(place) for o in places)

    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if not isinstance(detail["input"], dict)
        or not detail["type"].endswith(("_type", "literal_error"))
        or not has_problem_inside(place)
    ]


def _search_problems(spec: JobSpec) -> list[Problem]:
    """Problems of distributions in a grid, and of a search without distributions."""
    search, space = spec.sweep.search, spec.sweep.space
    if isinstance(search, GridSearch):
        return [
            Problem(
                join_path(("sweep", "space", path)),
                "a distribution, but a grid search needs a list of values",
                "give a list, or draw from it with sweep.search: {kind: random, samples: 20}",
            )
            for path in space
        ]
    if space:
        return []
    remedy = "give a setting a distribution, as alpha: {log_uniform: [0.01, 1]}, or use kind: grid"
    return [
        Problem("sweep.search.kind", f"{search.kind}, but no setting has a distribution", remedy)
    ]


def _axis_problems(spec: JobSpec) -> list[Problem]:
    return [
        problem
        for path, values in spec.sweep.axes.items()
        for problem in _value_problems(
            spec,
            path,
            {("sweep", "axes", path, place): value for place, value in enumerate(values)},
        )
    ]


def _space_problems(spec: JobSpec) -> list[Problem]:
    """Problems of the edges of each distribution; values between the edges are not checked."""
    problems = []
    for path, drawn in spec.sweep.space.items():
        where: tuple[PathPart, ...] = ("sweep", "space", path)
        parts = split_path(path)
        if parts[:2] == ("sweep", "methods"):
            known = range(len(spec.sweep.methods))
            if len(parts) < 4 or parts[2] not in known or parts[3] == "kind":
                remedy = "name a setting of a method there is, as sweep.methods[0].alpha"
                problems.append(Problem(join_path(where), f"{path!r} is not a setting", remedy))
                continue
        elif path in spec.sweep.axes:
            continue  # reported by overlap_problems
        (name,) = type(drawn).model_fields
        values = {(*where, name, place): value for place, value in enumerate(drawn.edges)}
        problems += _value_problems(spec, path, values)
    return problems


def _value_problems(
    spec: JobSpec, path: str, values: Mapping[tuple[PathPart, ...], Any]
) -> list[Problem]:
    """Problems of the spec with each value of a dotted path; `values` is keyed by location."""
    base = spec.to_json()
    parts = split_path(path)
    drawn = next(iter(values))[1] == "space"
    if parts[:1] not in {(root,) for root in AXIS_ROOTS} and not (
        drawn and parts[:2] == ("sweep", "methods")
    ):
        where = next(iter(values))[:3]
        remedy = f"an axis is a dotted path into {', '.join(AXIS_ROOTS)}"
        return [Problem(join_path(where), f"{path!r} is not a field of a trial", remedy)]
    problems = []
    for where, value in values.items():
        changed = copy.deepcopy(base)
        found = _apply_values(changed, {path: value}) or _validate_expanded(changed)[1]
        problems += [
            replace(problem, path=join_path(where), message=_axis_message(problem))
            for problem in found
        ]
    return _unique(problems)


def _axis_message(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}"


def _unique(problems: Any) -> list[Problem]:
    """Merge the problems of each path: the variants of a union all reject the same value."""
    merged: dict[str, Problem] = {}
    for problem in problems:
        known = merged.get(problem.path)
        if known is None:
            merged[problem.path] = problem
        elif problem.message not in known.message:
            merged[problem.path] = replace(known, message=either(known.message, problem.message))
    return list(merged.values())


def _problem(detail: ErrorDetails, data: dict[str, Any]) -> Problem:
    """Convert a pydantic error to a problem in terms of the spec."""
    kind, given = detail["type"], detail["input"]
    parts = _real_path(detail["loc"], data, absent=kind == "missing")
    if kind == "extra_forbidden":
        allowed = sorted(schema_at(parts[:-1], data).get("properties", {}))
        hint = did_you_mean(str(parts[-1]), allowed)
        remedy = f"{hint}allowed here: {', '.join(allowed)}"
        return Problem(join_path(parts), f"unknown key {parts[-1]!r}", remedy)
    if kind == "missing" and isinstance(parts[-1], int):
        meaning = schema_at(parts[:-1], data).get("description", "")
        return Problem(join_path(parts[:-1]), f"too few values: {_shown(given)}", meaning)
    if kind == "missing":
        meaning = schema_at(parts, data).get("description", "")
        return Problem(join_path(parts), "missing key", f"add it: {meaning}".rstrip(": "))
    if kind == "no_distribution":
        remedy = "write {choice: [values]}, or {log_uniform: [lowest, highest]}"
        return Problem(join_path(parts), f"{detail['msg']}, but {_shown(given)} was given", remedy)
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        context = detail.get("ctx", {})
        tag = str(context.get("discriminator", "kind")).strip("'")
        expected = context.get("expected_tags") or _tags(schema_at(parts, data))
        value = given.get(tag) if isinstance(given, dict) else given
        message = f"unknown value {value!r}" if value is not None else "missing key"
        hint = did_you_mean(value, NAMES.findall(expected)) if isinstance(value, str) else ""
        return Problem(join_path((*parts, tag)), message, f"{hint}allowed: {expected}")
    if kind == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        if not parts:  # about the whole spec: the message starts with a path
            path, _, message = message.partition(": ")
            parts = split_path(path)
        what, _, remedy = message.partition("; ")
        return Problem(join_path(parts), what, remedy)
    # For a key that its mapping rejects, use the description of the mapping.
    explained = parts[:-1] if detail["loc"][-1:] == ("[key]",) else parts
    meaning = schema_at(explained, data).get("description", "")
    message = f"{EXPECTED}{expectation(detail)}, but {_shown(given)} was given"
    if kind == "literal_error" and isinstance(given, str):
        meaning = did_you_mean(given, NAMES.findall(detail["ctx"]["expected"])) + meaning
    return Problem(join_path(parts), message, meaning.strip())


def _shown(given: Any) -> str:
    shown = json.dumps(given, default=str, ensure_ascii=False)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def _tags(node: dict[str, Any]) -> str:
    return ", ".join(node.get("discriminator", {}).get("mapping", {}))


def _real_path(loc: tuple[int | str, ...], data: Any, *, absent: bool) -> tuple[PathPart, ...]:
    """Drop the parts that pydantic adds: tags of unions and names of variants.

    absent: the last part is a missing key, which is kept.
    """
    parts: list[PathPart] = []
    here = data
    for place, part in enumerate(loc):
        last = place == len(loc) - 1
        in_dict = isinstance(here, dict) and part in here
        if in_dict or (isinstance(here, list) and isinstance(part, int) and part < len(here)):
            here = here[part]
        elif not (absent and last):
            continue
        parts.append(part)
    return tuple(parts)
