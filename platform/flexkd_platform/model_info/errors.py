"""Errors about a model that a user can fix."""

from __future__ import annotations

from typing import Literal

from ..spec import Problem


class ModelError(ValueError):
    """A model that cannot be found, read or used, with what to do about it.

    message: the problem, including what was given.
    remedy: what is allowed, or what to do.
    key: the spec's key that causes it.
    """

    def __init__(
        self, message: str, remedy: str, key: Literal["model", "revision"] = "model"
    ) -> None:
        # All three are args, so that the error survives pickling between processes.
        super().__init__(message, remedy, key)
        self.message = message
        self.remedy = remedy
        self.key = key

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"

    def problem(self, path: str) -> Problem:
        """The error as a problem of the spec.

        path: of the key that names the model, as `teacher.model` or `evaluate.bertscore_model`. A
            key `revision` is beside a key `model` alone.
        """
        section, _, name = path.rpartition(".")
        place = f"{section}.revision" if self.key == "revision" and name == "model" else path
        return Problem(place, self.message, self.remedy)


def first_line(error: Exception) -> str:
    """An error in one line of at most 200 characters: its first, and what a heading announces."""
    first, *others = (str(error).strip() or type(error).__name__).splitlines()
    if first.endswith(":") and others:
        first = f"{first} {others[0].strip()}"
    return first[:200]
