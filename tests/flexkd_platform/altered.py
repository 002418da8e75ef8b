"""Published artifacts with other contents, as if their steps had computed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flexkd_platform.plan import Step
from flexkd_platform.store import Store, describe_file


def republish(store: Store, step: Step) -> None:
    """Describe the files of an artifact on this disk anew in its manifest."""
    manifest = store.manifest(step)
    folder = Path(store.root, "steps", step.kind, step.hash)
    files = {name: describe_file(folder / name) for name in manifest.files}
    (folder / "manifest.json").write_bytes(replace(manifest, files=files).to_bytes())
    store._manifests.clear()
