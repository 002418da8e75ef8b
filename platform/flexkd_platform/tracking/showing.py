"""Tracking URIs as they may be shown: whatever is printed, logged or recorded has no password."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "…"

PASSWORD = re.compile(r"://[^:/?#@]*:(.+)@")
"""What stands between the user and the host; a password may itself have an @ or a slash."""


def shown_uri(uri: str) -> str:
    """The URI without its password."""
    return PASSWORD.sub(lambda found: found[0].replace(f":{found[1]}@", f":{HIDDEN}@"), uri)


def without_password(text: str, uri: str) -> str:
    """A text, as of an error, in which the password of `uri` is hidden."""
    found = PASSWORD.search(uri)
    if found is None:
        return shown_uri(text)
    for secret in (found[1], unquote(found[1])):
        text = text.replace(secret, HIDDEN)
    return shown_uri(text)
