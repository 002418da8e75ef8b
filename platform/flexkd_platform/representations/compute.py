"""Answer requests: from the cache on this machine, or by a forward pass."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict
from pathlib import Path

from ..cache_folder import cache_folder
from ..results import JobFiles
from ..spec import Problem, SpecError
from .records import RESULTS, Request, Result, cache_key

FOLDER = "representations"


def compute(job: JobFiles, request: Request) -> Result:
    """The answer to a request; computed once per machine.

    Raises:
        SpecError: a model cannot be loaded, or the request cannot be answered for it.
    """
    if (known := cached(request)) is not None:
        return known
    # The pages of a server that shows nothing of this kind should not wait for torch.
    from ..model_info import ModelError
    from .forward import answer

    try:
        found = answer(job, request)
    except ModelError as error:
        raise SpecError([Problem("", error.message, error.remedy)]) from None
    _write(request, found)
    return found


def cached(request: Request) -> Result | None:
    """The answer from the cache; None if it is not there, or a file of it is damaged."""
    path = _file(request)
    if path is None or not path.is_file():
        return None
    try:
        return RESULTS[type(request)].from_json(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError):
        return None  # written anew


def _write(request: Request, result: Result) -> None:
    path = _file(request)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}-{uuid.uuid4().hex[:8]}")
    aside.write_text(json.dumps(asdict(result)))
    os.replace(aside, path)


def _file(request: Request) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / FOLDER / f"{cache_key(request)}.json"
