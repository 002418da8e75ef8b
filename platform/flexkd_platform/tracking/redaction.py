"""Tracking URIs as they may be shown: whatever is printed, logged or recorded has no password."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "…"

PASSWORD = re.compile(r"://[^:/?#@]*:(.+)@")
"""What stands between the user and the host; a password may itself have an @ or a slash."""


SETTING = re.compile(
    r"([?&;][^=&;#\s]*(?:key|secret|token|passw|pwd|credential|signature)[^=&;#\s]*=)([^&;#\s]+)",
    re.IGNORECASE,
)
"""A setting of a URI whose name says that it is a secret, as `?password=…`."""


def shown_uri(uri: str) -> str:
    """The URI without its password, wherever it has one."""
    uri = PASSWORD.sub(lambda found: found[0].replace(f":{found[1]}@", f":{HIDDEN}@"), uri)
    return SETTING.sub(rf"\1{HIDDEN}", uri)


def without_password(text: str, uri: str) -> str:
    """A text, as of an error, in which the secrets of `uri` are hidden."""
    found = PASSWORD.search(uri)
    secrets = [value for _, value in SETTING.findall(uri)] + ([found[1]] if found else [])
    for secret in secrets:
        text = text.replace(secret, HIDDEN).replace(unquote(secret), HIDDEN)
    return shown_uri(text)
