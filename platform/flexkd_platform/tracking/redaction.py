"""Redact passwords in tracking URIs and in texts that are printed, logged or recorded."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "…"

PASSWORD = re.compile(r"://[^:/?#@]*:(.+)@")
"""The text between the user and the host; a password may itself contain an @ or a slash."""


SETTING = re.compile(
    r"([?&;][^=&;#\s]*(?:key|secret|token|passw|pwd|credential|signature)[^=&;#\s]*=)([^&;#\s]+)",
    re.IGNORECASE,
)
"""A URI parameter whose name marks it as a secret, for example `?password=…`."""


def shown_uri(uri: str) -> str:
    """The URI with its passwords replaced by `HIDDEN`."""
    uri = PASSWORD.sub(lambda found: found[0].replace(f":{found[1]}@", f":{HIDDEN}@"), uri)
    return SETTING.sub(rf"\1{HIDDEN}", uri)


def without_password(text: str, uri: str) -> str:
    """A text, such as an error message, with the secrets of `uri` replaced by `HIDDEN`."""
    found = PASSWORD.search(uri)
    secrets = [value for _, value in SETTING.findall(uri)] + ([found[1]] if found else [])
    for secret in secrets:
        text = text.replace(secret, HIDDEN).replace(unquote(secret), HIDDEN)
    return shown_uri(text)
