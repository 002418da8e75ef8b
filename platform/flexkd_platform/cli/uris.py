"""Checks for secrets in URIs of a job's options, which process lists, job tables and logs show."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..spec import Problem
from ..tracking import shown_uri

USER_IS_KEY = {"s3", "gs", "gcs", "http", "https"}
"""Schemes whose URIs have a key as user, without a password."""


def secret_problems(option: str, uri: str, remedy: str, seen: str) -> list[Problem]:
    """The problem of a URI that contains a secret; the message does not contain it.

    seen: who would see the secret, as the end of a sentence.
    """
    scheme, _, rest = shown_uri(uri).partition("://")
    try:
        parts = urlsplit(uri)
        user = parts.password is not None or (
            parts.username is not None and parts.scheme in USER_IS_KEY
        )
    except ValueError:
        user = False  # an invalid URI is reported elsewhere
    if not user and shown_uri(uri) == uri:
        return []
    host = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    message = f"the URI of {scheme}://{host} contains a secret, which {seen}"
    return [Problem(option, message, remedy)]
