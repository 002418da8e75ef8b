"""`flexkd list`: what is registered, for people and for programs."""

from __future__ import annotations

import json

import pytest

from flexkd_core import FEATURE_LOSSES, LOGIT_LOSSES
from flexkd_platform.cli.app import main
from flexkd_platform.cli.listing import LISTS
from flexkd_platform.cli.loss_source import losses_in_source
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


def test_losses_read_from_source_are_those_that_are_registered() -> None:
    registered = [
        (name, f"{kind}: {(loss.__doc__ or '').partition(chr(10))[0]}")
        for kind, table in (("feature", FEATURE_LOSSES), ("logit", LOGIT_LOSSES))
        for name, loss in table.items()
    ]
    assert list(losses_in_source()) == registered
