"""What the docs name exists, and the architecture page names every module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PLATFORM = ROOT / "platform" / "flexkd_platform"
PACKAGES = sorted(path.parent for path in PLATFORM.glob("*/__init__.py"))


def test_there_are_pages_and_packages() -> None:
    assert {"README.md", "architecture.md"} <= {page.name for page in PAGES}
    assert {"spec", "steps", "cli"} <= {package.name for package in PACKAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_architecture_page_names_every_module(package: Path) -> None:
    start = ARCHITECTURE.index(f"**{package.name}/**")
    section = ARCHITECTURE[start : ARCHITECTURE.index("\n\n", start)]
    named = set(re.findall(r"`([a-z0-9_]+)\.py`", section))
    folders = set(re.findall(r"`([a-z_]+)/`", section))
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    assert named == modules
    assert folders == {path.parent.name for path in package.glob("*/__init__.py")}
