"""One finished tiny job: two seeds of fine-tuning and of Flex-KD with matched pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexkd_platform.results import JobFiles

from ..tiny_jobs import material, spec_json

__all__ = ["material"]


@pytest.fixture(scope="module")
def job(material: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFiles:
    import flexkd

    methods = [{"kind": "ft"}, {"kind": "flexkd", "pairing": "matched"}]
    spec = flexkd.load_spec({**spec_json(material), "sweep": {"methods": methods, "seeds": [1, 2]}})
    storage = tmp_path_factory.mktemp("representations") / "storage"
    results = flexkd.run(spec, storage=storage, address="none", tracking_uri="none", progress=False)
    return results.files
