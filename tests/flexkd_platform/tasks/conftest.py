"""One torch thread: tiny matrices gain nothing from more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flexkd_platform.training import torch_threads


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield
