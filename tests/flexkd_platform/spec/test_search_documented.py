"""Every spec in docs/search.md is one that loads, and does what the page says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexkd_platform.spec import Asha, OptunaSearch, RandomSearch

from .conftest import Load

PAGE = (Path(__file__).parents[3] / "docs" / "search.md").read_text(encoding="utf-8")
SPECS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_three() -> None:
    assert len(SPECS) == 3


@pytest.mark.parametrize("text", SPECS, ids=lambda text: text.split()[1])
def test_it_loads(text: str, load: Load) -> None:
    assert load(text).sweep.space


@pytest.mark.parametrize("distribution", re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE))
def test_every_distribution_of_the_table_is_one(distribution: str, load: Load) -> None:
    kind = distribution.strip("{").partition(":")[0]
    path = {"int_uniform": "distill.batch_size", "choice": "sweep.methods[1].loss"}.get(
        kind, "sweep.methods[1].alpha"
    )
    changed = SPECS[1] + f"  space: {{'{path}': {distribution}}}\n"
    if path.endswith("alpha"):
        changed = changed.replace("alpha: {log_uniform: [0.01, 1]}", "alpha: 0.5")
    found = load(changed).sweep.space[path]
    assert list(type(found).model_fields) == [kind]


def test_they_are_what_their_sections_say(load: Load) -> None:
    random, optuna, asha = (load(text).sweep for text in SPECS)
    assert isinstance(random.search, RandomSearch)
    assert set(random.space) == {
        "sweep.methods[1].alpha",
        "sweep.methods[1].loss",
        "distill.learning_rate",
    }
    assert isinstance(optuna.search, OptunaSearch)
    assert optuna.search.metric == "accuracy"
    assert isinstance(asha.scheduler, Asha)
