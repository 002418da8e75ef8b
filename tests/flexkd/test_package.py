"""What `import flexkd` offers, and that it waits for no library."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest

import flexkd

HEAVY = ("torch", "transformers", "mlflow", "ray", "pandas", "pyarrow", "numpy", "yaml")


@pytest.mark.parametrize("name", flexkd.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(flexkd, name).__doc__
    assert name in dir(flexkd)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'flexkd' has no attribute 'nothing'"):
        _ = flexkd.nothing


def test_the_package_is_typed() -> None:
    assert (files("flexkd") / "py.typed").is_file()


def test_the_import_waits_for_nothing() -> None:
    program = f"import sys, flexkd; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
