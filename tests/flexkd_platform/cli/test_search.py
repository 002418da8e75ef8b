"""A search from the command line: what is planned of it, what it shows, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flexkd_platform.cli.app import main

SPEC = """\
name: searched
task: {{kind: classification, max_length: 12, data: {{source: files, path: "{data}"}}}}
teacher: {{model: "{teacher}", finetune: {{epochs: 1, batch_size: 8, learning_rate: 1e-3}}}}
student: {{init: {{kind: sliced, layers: 1, hidden_size: 8}}}}
score: {{chunk: 8}}
distill: {{epochs: 2, batch_size: 8, learning_rate: 1e-3}}
sweep:
  methods: [{{kind: ft}}, {{kind: kd, beta: {{uniform: [0.1, 0.9]}}}}]
  search: {{kind: optuna, samples: 3, batch: 2}}
  seeds: [10]
resources: {{teacher_cpus: 1, score_workers: 1}}
"""

Flexkd = Callable[..., str]


@pytest.fixture
def flexkd(tmp_path: Path, tiny_world: Path, capsys: pytest.CaptureFixture[str]) -> Flexkd:
    """`flexkd(command, *options, code=0)`: what the command prints, on either stream."""
    spec = tmp_path / "job.yaml"
    spec.write_text(SPEC.format(data=tiny_world / "reviews", teacher=tiny_world / "teacher"))
    places = ["--storage", str(tmp_path / "storage"), "--tracking-uri", "none"]

    def run(command: str, *options: str, code: int = 0) -> str:
        given = main([command, str(spec), *options, *places])
        captured = capsys.readouterr()
        assert given == code, captured.err + captured.out
        return captured.out + captured.err

    return run


def test_a_plan_shows_the_first_round_and_how_much_follows(flexkd: Flexkd) -> None:
    numbers = json.loads(flexkd("plan", "--json"))
    assert numbers["search"] == {
        "points": 3,
        "seeds": 1,
        "trials_at_most": 4,
        "spaces": [{"method": "kd", "space": {"sweep.methods[1].beta": {"uniform": [0.1, 0.9]}}}],
    }
    assert [trial["method"] for trial in numbers["trials"]] == ["ft", "kd", "kd"]
    shown = flexkd("plan")
    assert "searched: kd, beta in uniform [0.1, 0.9]" in shown
    assert "3 points × 1 seed" in shown
    assert "is valid: at most 4 trials" in " ".join(flexkd("validate").split())


def test_a_plan_of_a_random_search_shows_all_of_it(flexkd: Flexkd) -> None:
    numbers = json.loads(
        flexkd("plan", "--set", "sweep.search={kind: random, samples: 3}", "--json")
    )
    assert "search" not in numbers
    assert [trial["method"] for trial in numbers["trials"]] == ["ft", "kd", "kd", "kd"]


WEIGHTS = "{kind: kd, beta: {choice: [0.0, 0.5]}, lambda: {choice: [0.0, 1.0]}}"
"""Both may be 0 by themselves."""


def test_a_plan_says_which_drawn_points_are_left_out(flexkd: Flexkd) -> None:
    options = [f"sweep.methods=[{WEIGHTS}]", "sweep.search={kind: random, samples: 12}"]
    given = [part for option in options for part in ("--set", option)]
    refused = json.loads(flexkd("plan", *given, "--json"))["refused"]
    assert refused
    assert {(one["method"], one["reason"]) for one in refused} == {
        ("kd", "sweep.methods[0]: every weight is 0")
    }
    sentence = f"{len(refused)} sampled points are invalid and were skipped; kd with beta=0.0, "
    assert sentence in flexkd("plan", *given)
    assert sentence in flexkd("validate", *given)
    assert "invalid" not in flexkd("plan")


def test_a_run_ends_with_what_validation_chooses(flexkd: Flexkd) -> None:
    shown = flexkd("run", "--address", "none")
    assert "best kd on validation/accuracy (" in shown
    assert "best ft on validation/accuracy (" in shown
    assert "pruned" not in shown


@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_a_scheduler_without_ray_is_refused(command: str, flexkd: Flexkd) -> None:
    asha = ["--set", "sweep.scheduler={kind: asha, grace_steps: 2}"]
    said = " ".join(flexkd(command, *asha, "--address", "none", code=2).split())
    assert "sweep.scheduler.kind" in said
    assert "nothing was started" in said
    assert "--set sweep.scheduler='{kind: none}'" in said
