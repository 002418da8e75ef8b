"""What is looked at of a search before it is planned: each edge, not every combination of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexkd_platform.preflight import Preflight
from flexkd_platform.spec import JobSpec, Problem, load_spec

SPEC = """\
name: searched
task: {kind: classification, max_length: 12, data: {source: files, path: WORLD/reviews}}
teacher: {model: WORLD/teacher}
student: {init: {kind: sliced, layers: 1, hidden_size: 8}}
sweep:
  methods: [{kind: flexkd, alpha: SETTING}]
  axes: AXES
  search: SEARCH
"""


class Counting(Preflight):
    """Counts the points that it looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[JobSpec] = []

    def _point_problems(self, spec: JobSpec) -> list[Problem]:
        self.points.append(spec)
        return super()._point_problems(spec)


def looked_at(
    world: Path, folder: Path, axes: str, search: str, setting: str
) -> tuple[list[Problem], list[JobSpec]]:
    text = SPEC.replace("WORLD", str(world)).replace("AXES", axes)
    file = folder / "job.yaml"
    file.write_text(text.replace("SEARCH", search).replace("SETTING", setting), encoding="utf-8")
    preflight = Counting()
    return preflight.problems(load_spec(file)), preflight.points


RATES, BATCHES = [0.1, 0.2, 0.3], [3, 4, 5, 6]
AXES = f"{{distill.learning_rate: {RATES}, distill.batch_size: {BATCHES}}}"


@pytest.mark.parametrize("kind", ["random", "optuna"])
def test_lists_of_a_search_are_choices(kind: str, tiny_world: Path, tmp_path: Path) -> None:
    """1 point of first values and each further value: not the product, of which 2 are drawn."""
    search, setting = f"{{kind: {kind}, samples: 2}}", "{uniform: [0.1, 1]}"
    problems, points = looked_at(tiny_world, tmp_path, AXES, search, setting)
    assert problems == []
    assert len(points) == 1 + 2 + 3 + 1
    assert {spec.distill.learning_rate for spec in points} == set(RATES)
    assert {spec.distill.batch_size for spec in points} == set(BATCHES)


def test_a_grid_is_looked_at_wherever_it_is_run(tiny_world: Path, tmp_path: Path) -> None:
    _, points = looked_at(tiny_world, tmp_path, AXES, "{kind: grid}", "0.5")
    assert len({(spec.distill.learning_rate, spec.distill.batch_size) for spec in points}) == 12


def test_edges_that_do_not_go_together_are_no_problem(tiny_world: Path, tmp_path: Path) -> None:
    """All first values are weights of 0; each of them is looked at beside others that are not."""
    setting = "[0.0, 0.5], lambda: [0.0, 1.0]"
    search = "{kind: random, samples: 5}"
    problems, points = looked_at(tiny_world, tmp_path, "{}", search, setting)
    assert problems == []
    weights = [(m.alpha, m.lambda_) for spec in points for m in spec.sweep.methods]  # type: ignore[union-attr]
    assert {alpha for alpha, _ in weights} == {0, 0.5}
    assert {other for _, other in weights} == {0, 1}
    assert (0, 0) not in weights


def test_a_problem_says_which_drawn_value_it_is_of(tiny_world: Path, tmp_path: Path) -> None:
    axes = "{student.init.hidden_size: {int_uniform: [7, 8]}}"
    search = "{kind: random, samples: 5}"
    (problem,), _ = looked_at(tiny_world, tmp_path, axes, search, "0.5")
    assert problem.path == "student.init.hidden_size"
    assert problem.message.startswith("a width of 7 is not a multiple of ")
    assert problem.message.endswith(" (sampled value student.init.hidden_size=7)")
