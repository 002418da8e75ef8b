"""URIs of a job's options, which others see: in lists of processes, tables of jobs and logs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..spec import Problem
from ..tracking import shown_uri

USER_IS_KEY = {"s3", "gs", "gcs", "http", "https"}
"""Schemes in whose URIs a user alone, without a password, is a key."""


def secret_problems(option: str, uri: str, remedy: str, seen: str) -> list[Problem]:
    """What is wrong with a URI that holds a secret, without the secret.

    seen: who would see it, as the end of a sentence.
    """
    scheme, _, rest = shown_uri(uri).partition("://")
    try:
        parts = urlsplit(uri)
        user = parts.password is not None or (
            parts.username is not None and parts.scheme in USER_IS_KEY
        )
    except ValueError:
        user = False  # what is no URI is refused for that
    if not user and shown_uri(uri) == uri:
        return []
    host = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    message = f"the URI of {scheme}://{host} holds a secret, which {seen}"
    return [Problem(option, message, remedy)]
