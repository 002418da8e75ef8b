"""The responses of a generate step: JSON files of a few chunks each."""

from __future__ import annotations

import json

from ..plan import Step
from .published import Artifacts

Response = tuple[str, bool]
"""A text, and whether it ended; a truncated one must not teach an end token."""


def read_responses(step: Step, artifacts: Artifacts) -> list[Response]:
    """The responses of a published generate step, one for each training example."""
    files = sorted(artifacts.folder(step).glob("chunk-*"))
    return [(text, ended) for file in files for text, ended in json.loads(file.read_bytes())]
