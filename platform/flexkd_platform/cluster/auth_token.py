"""The auth token of a Ray cluster: where it is stored, and who may read it."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..spec import Problem, SpecError

DEFAULT_PATH = "~/.ray/auth_token"

PLACES = (
    "set RAY_AUTH_TOKEN, point RAY_AUTH_TOKEN_PATH to a file with the token, or write it to "
    f"{DEFAULT_PATH} (files need chmod 600)"
)


@dataclass(frozen=True)
class Token:
    """A token and where it was found; messages never contain its text."""

    text: str = field(repr=False)
    place: str


def find_token() -> Token | None:
    """Find the token where Ray looks for it, in Ray's order; None if there is none.

    Raises:
        SpecError: the file is readable by others, is configured but missing, or is empty.
    """
    text = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if text:
        return Token(text, "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(os.path.expanduser(named or DEFAULT_PATH))
    if not path.is_file() and not named:
        return None
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _refused(path, f"cannot be read: {reason}", "correct RAY_AUTH_TOKEN_PATH") from None
    if mode & 0o077:
        raise _refused(path, f"can be read by others (mode {mode:04o})", f"chmod 600 {path}")
    if not text:
        raise _refused(path, "is empty", PLACES)
    return Token(text, str(path))


def use_token_if_there() -> None:
    """Make Ray send the token if there is one, unless `RAY_AUTH_MODE` is already set.

    Ray sends a token only if `RAY_AUTH_MODE` is `token` when `ray` is first imported. A cluster
    without authentication ignores it.

    Raises:
        SpecError: see `find_token`.
    """
    decided = "RAY_AUTH_MODE" in os.environ or "ray" in sys.modules
    if not decided and find_token() is not None:
        os.environ["RAY_AUTH_MODE"] = "token"


def _refused(path: Path, reason: str, remedy: str) -> SpecError:
    return SpecError([Problem("", f"the token file {path} {reason}", remedy)])
