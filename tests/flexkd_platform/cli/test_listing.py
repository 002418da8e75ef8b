"""`flexkd list`: what is registered, for people and for programs."""

from __future__ import annotations

import json

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.cli.listing import LISTS
from flexkd_platform.spec import METHODS


@pytest.mark.parametrize("what", LISTS)
def test_both_forms_say_the_same(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["list", what, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed
    assert [f"{entry['name']:22} {entry['meaning']}" for entry in listed] == lines
    assert all(entry["meaning"] for entry in listed)


def test_every_method_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "--json"]) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} == set(METHODS)
