"""The token that a Ray cluster with authentication asks for."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def use_token_if_there() -> None:
    """Have Ray send the token that lies ready, unless the environment says otherwise.

    Ray's client sends one only if `RAY_AUTH_MODE` says so when `ray` is first imported; a cluster
    without authentication ignores it.
    """
    if _token_there() and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _token_there() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    return Path(path).expanduser().is_file()
