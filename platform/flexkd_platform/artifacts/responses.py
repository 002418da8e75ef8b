"""The responses of a generate step: JSON files of a few chunks each."""

from __future__ import annotations

import json

from ..plan import Step
from .published import Artifacts

Response = tuple[str, bool]
"""A text, and whether it ended; one that was cut off must not teach an end."""


def read_responses(step: Step, artifacts: Artifacts) -> list[Response]:
    """Of a published generation, by training example: the response, and whether it ended."""
    files = sorted(artifacts.folder(step).glob("chunk-*"))
    return [(text, ended) for file in files for text, ended in json.loads(file.read_bytes())]
