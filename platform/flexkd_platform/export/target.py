"""The student that a command names: `JOB`, `JOB:best` or `JOB:METHOD,SETTING=VALUE,…,seed=N`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..spec import Problem, SpecError
from ..tracking import SYMBOLS, TrialRecord, params_text

BEST = "best"

FORM = "write JOB, JOB:best, JOB:METHOD,best or JOB:METHOD,α=0.5,seed=10"


@dataclass(frozen=True)
class Target:
    """A job, and conditions on its trials.

    best: whether the trials that match are ranked by validation, and the best one is meant.
    method, seed: None for any.
    settings: name of a setting → its value as text; the name is a path, its last part or a symbol.
    """

    job: str
    best: bool = True
    method: str | None = None
    seed: int | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def matches(self, trial: TrialRecord) -> bool:
        """Whether a trial meets the conditions."""
        if self.method not in (None, trial.method) or self.seed not in (None, trial.seed):
            return False
        return all(
            any(_equal(value, given) for path, value in trial.params.items() if is_named(path, key))
            for key, given in self.settings.items()
        )


def parse_target(text: str) -> Target:
    """Parse the argument of `flexkd export`. Without conditions, the best trial is meant.

    Raises:
        SpecError: all parts that are not of the form.
    """
    job, _, rest = text.partition(":")
    parts = [part.strip() for part in _parts(rest) if part.strip()]
    pairs = [part.partition("=")[::2] for part in parts if "=" in part]
    words = [part for part in parts if "=" not in part and part != BEST]
    given: dict[str, str] = {}
    problems = [] if job.strip() else [_problem(text, "names no job")]
    for key, value in [*(("method", word) for word in words), *pairs]:
        key, value = key.strip(), value.strip()
        if not key or not value:
            problems.append(_problem(text, f"has a setting without a name or value: {key}={value}"))
        elif key in given:
            problems.append(_problem(text, f"has two values of {key}: {given[key]} and {value}"))
        given[key] = value
    method, seed = given.pop("method", None), given.pop("seed", None)
    if seed is not None and not seed.isdecimal():
        problems.append(_problem(text, f"has the seed {seed!r}, which is not a whole number"))
    if problems:
        raise SpecError(problems)
    best = BEST in parts or not parts
    return Target(job.strip(), best, method, None if seed is None else int(seed), given)


def is_named(path: str, key: str) -> bool:
    """Whether a key names a setting: by its path, the path's last part, or that part's symbol."""
    end = path.rsplit(".", 1)[-1]
    return key in (path, end, SYMBOLS.get(end))


def argument_of(trial: TrialRecord) -> str:
    """What names a trial in a target: `flexkd,alpha=0.5,seed=10`."""
    ends = [path.rsplit(".", 1)[-1] for path in trial.params]
    names = [
        end if ends.count(end) == 1 else path for path, end in zip(trial.params, ends, strict=True)
    ]
    pairs = [
        f"{name}={_text(value)}" for name, value in zip(names, trial.params.values(), strict=True)
    ]
    return ",".join([trial.method, *pairs, f"seed={trial.seed}"])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return params_text({"": value}).removeprefix("=")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parts(text: str) -> Iterator[str]:
    """The text between commas that are outside of brackets: a value may be a list."""
    depth, part = 0, ""
    for letter in text:
        depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and depth <= 0:
            yield part
            part = ""
        else:
            part += letter
    yield part


def _equal(value: Any, given: str) -> bool:
    """Whether a value is the one that was written: as a number, as YAML, or as it is shown."""
    return given == _text(value) or any(value == read for read in _readings(given))


def _readings(given: str) -> Iterator[Any]:
    yield given
    with contextlib.suppress(ValueError):
        yield float(given)  # YAML reads 1e-3 as text
    with contextlib.suppress(yaml.YAMLError):
        yield yaml.safe_load(given)


def _problem(text: str, message: str) -> Problem:
    return Problem("JOB", f"{text!r} {message}", FORM)
