"""The responses of a generate step: JSON files of a few chunks each."""

from __future__ import annotations

import json

from ...plan import Step
from ...training.encoding import Response
from .published import Artifacts


def read_responses(step: Step, artifacts: Artifacts) -> list[Response]:
    """Of a published generation, by training example: the response, and whether it ended."""
    files = sorted(artifacts.folder(step).glob("chunk-*"))
    return [(text, ended) for file in files for text, ended in json.loads(file.read_bytes())]
