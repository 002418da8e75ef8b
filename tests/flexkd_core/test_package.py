"""What the package itself offers: every name, and torch with the first that needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flexkd_core
from flexkd_core import selection


@pytest.mark.parametrize("name", flexkd_core.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(flexkd_core, name) is getattr(flexkd_core, name)


def test_a_name_of_two_modules_is_that_of_units() -> None:
    assert flexkd_core.kept_share is selection.kept_share


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'flexkd_core' has no attribute 'nothing'"):
        _ = flexkd_core.nothing


@pytest.mark.parametrize(
    ("expression", "torch"),
    [
        ("flexkd_core.select_units", False),
        ("flexkd_core.summarise", False),
        ("flexkd_core.statistics.summarise", False),
        ("flexkd_core.losses.FEATURE_LOSSES", True),
        ("flexkd_core.unit_importance", True),
    ],
)
def test_torch_is_imported_where_it_is_needed(expression: str, torch: bool) -> None:
    program = f"import sys, flexkd_core; {expression}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f"{torch}\n", done.stderr
