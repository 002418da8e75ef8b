"""What a person is told: every problem at once, each with path, line, what was given, remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flexkd_platform.spec import JobSpec, Problem, SpecError, load_spec, spec_with

from .more_problem_cases import MORE_CASES
from .problem_cases import CASES

Problems = Callable[..., tuple[Problem, ...]]
Load = Callable[..., object]

ONE_PROBLEM = CASES | MORE_CASES


@pytest.mark.parametrize("what", ONE_PROBLEM)
def test_says_where_what_was_given_and_what_is_allowed(
    what: str, text: str, problems: Problems
) -> None:
    before, after, path, line, message, remedy = ONE_PROBLEM[what]
    assert text.count(before) == 1
    found = problems(text.replace(before, after))
    assert found == (Problem(path, message, remedy, line),)


@pytest.mark.parametrize(
    ("bad", "where", "why"),
    [
        ("name: [\n", "line 2, column 1", "expected the node content, but found '<stream end>'"),
        ("name: a\n\tb: 1\n", "line 2, column 1", r"found character '\t' that cannot start any"),
        ("name: a\nname: b\n", "line 2, column 1", "duplicate key 'name'"),
        ("name: a\nx:\n  1: a\n  '1': b\n", "line 4, column 3", "duplicate key '1'"),
        ("name: *nobody\n", "line 1, column 7", "found undefined alias 'nobody'"),
        ("name: \x07\n", "", "special characters are not allowed"),
        ('name: "\\ud800"\n', "line 1, column 7", "half of a surrogate pair is no character"),
    ],
)
def test_text_that_is_no_yaml(bad: str, where: str, why: str, problems: Problems) -> None:
    (problem,) = problems(bad)
    assert problem.path == where
    assert problem.message.startswith("invalid YAML: ")
    assert why in problem.message
    assert problem.remedy == "check the indentation, colons and brackets there"


def test_an_anchor_inside_itself(text: str, problems: Problems) -> None:
    (problem,) = problems(text + "reference: &r [*r]\n")
    assert problem == Problem(
        "", "an anchor refers to itself", "write the values out in place of the reference"
    )


@pytest.mark.parametrize(
    ("content", "given"), [("", "nothing"), ("# x\n", "nothing"), ("- 1\n", "a list")]
)
def test_a_file_that_holds_no_spec(content: str, given: str, problems: Problems) -> None:
    (problem,) = problems(content)
    assert problem == Problem(
        "", f"the file contains {given}", "a job spec is a mapping: name, sweep, …"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    absent, binary = tmp_path / "absent.yaml", tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff\n")
    for file, reason in (
        (absent, "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "it is not UTF-8 text"),
    ):
        with pytest.raises(SpecError) as caught:
            load_spec(file)
        assert caught.value.source == str(file)
        assert caught.value.problems == (
            Problem("", f"cannot read {file}: {reason}", "give the path of a job spec in YAML"),
        )


def test_all_problems_at_once(problems: Problems) -> None:
    found = problems(
        "name: X\n"
        "sweep:\n"
        "  methods:\n"
        "    - {kind: nope}\n"
        "    - {kind: flexkd, alpha: [-1, 0.5, -2]}\n"
        "distill: {epochs: 0, nope: 1}\n",
        ["score.chunk=0", "oops"],
    )
    assert {(p.path, p.line) for p in found} == {
        ("name", 1),
        ("sweep.methods[0].kind", 4),
        ("sweep.methods[1].alpha[0]", 5),
        ("sweep.methods[1].alpha[2]", 5),
        ("distill.epochs", 6),
        ("distill.nope", 6),
        ("score.chunk", None),
        ("--set", None),
    }
    assert len(found) == 8


def test_names_that_are_wrong_show_together(problems: Problems) -> None:
    given = ["sweep.baseline=gram", "reference=[{method: cka, metric: rougeL, mean: 1}]"]
    assert [p.path for p in problems(overrides=given)] == [
        "sweep.baseline",
        "reference[0].metric",
    ]


def test_published_numbers_of_other_methods_may_stay(load: Callable[..., JobSpec]) -> None:
    """A sweep is narrowed by `--set` without touching them."""
    spec = load(overrides=["reference=[{method: cka, metric: accuracy, mean: 1}]"])
    assert [published.method for published in spec.reference] == ["cka"]


def test_without_the_default_baseline_a_spec_loads_again(
    load: Callable[..., JobSpec], text: str
) -> None:
    """Written out it names `ft`, which nobody gave."""
    spec = load(text.replace("    - {kind: ft}\n", ""))
    written = yaml.safe_dump(spec.to_json(), sort_keys=False)
    assert "baseline: ft" in written
    assert load(written) == spec


def test_axis_problems_show_together(text: str, problems: Problems) -> None:
    found = problems(
        text + "  axes: {distill.epochs: [0, 1, -1], tracking.experiment: [a], student.x: [1]}\n"
    )
    assert [p.path for p in found] == [
        'sweep.axes["distill.epochs"][0]',
        'sweep.axes["distill.epochs"][2]',
        'sweep.axes["tracking.experiment"]',
        'sweep.axes["student.x"][0]',
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "distill.epochs",
            Problem(
                "--set",
                "'distill.epochs' is not an assignment",
                "write --set path=value, as --set distill.epochs=3",
            ),
        ),
        (
            "=3",
            Problem(
                "--set",
                "'=3' is not an assignment",
                "write --set path=value, as --set distill.epochs=3",
            ),
        ),
        (
            "distill.epochs=-3",
            Problem(
                "distill.epochs",
                "expected a number greater than 0, but -3 was given",
                "passes over the training split",
            ),
        ),
        (
            "sweep.methods[3].alpha=2",
            Problem(
                "sweep.methods[3].alpha",
                "sweep.methods has only 3 entries",
                "name a field of the spec",
            ),
        ),
        ("name.x=2", Problem("name.x", "name has no part 'x'", "name a field of the spec")),
        (
            "distill.epochs=[",
            Problem(
                "distill.epochs",
                "invalid YAML: expected the node content, but found '<stream end>'",
                "quote the value",
            ),
        ),
        *(
            (
                f"{path}={value}",
                Problem(
                    path,
                    "an anchor refers to itself",
                    "write the values out in place of the reference",
                ),
            )
            for path, value in (("distill.epochs", "&a [*a]"), ("distill", "&a {epochs: *a}"))
        ),
        (
            "sweep.methods[0].alpha=2",
            Problem("sweep.methods[0].alpha", "unknown key 'alpha'", "allowed here: kind"),
        ),
    ],
)
def test_overrides_that_are_wrong(override: str, problem: Problem, problems: Problems) -> None:
    """They have no line: the file is not to blame."""
    assert problems(overrides=[override]) == (problem,)


def test_anchors_that_hold_each_other_deeply_are_refused(text: str, problems: Problems) -> None:
    """Each line is flat; what they come to is thousands of lists in each other."""
    lines = "".join(f"  - &a{place + 1} [*a{place}]\n" for place in range(2000))
    (found,) = problems(f"{text}x:\n  - &a0 1\n{lines}")
    assert found.message == "anchors are nested too deeply"


def test_a_key_that_json_has_not_is_refused(problems: Problems, text: str) -> None:
    (found,) = problems(f"{text}x: {{!!timestamp 2024-01-01: 1}}\n")
    assert (found.message, found.remedy) == ("a key is neither text nor a number", "quote it")


def test_an_override_keeps_the_lines_of_its_neighbours(text: str, problems: Problems) -> None:
    found = problems(text.replace("[10, 20]", "[]"), ["sweep.seed=1", "distill.epochs=0"])
    assert {p.path: p.line for p in found} == {
        "sweep.seeds": 7,
        "sweep.seed": None,
        "distill.epochs": None,
    }


def test_a_problem_in_words() -> None:
    assert str(Problem("a.b", "x is wrong", "do y", 3)) == "a.b (line 3): x is wrong\n    → do y"
    assert str(Problem("a.b", "x is wrong")) == "a.b: x is wrong"
    assert str(Problem("", "x is wrong")) == "x is wrong"
    error = SpecError([Problem("a", "one"), Problem("b", "two")], "job.yaml")
    assert str(error) == "a: one\nb: two"
    assert isinstance(error, ValueError)


def test_changes_are_validated(load: Callable[..., object]) -> None:
    spec = load()
    with pytest.raises(SpecError) as caught:
        spec_with(spec, {"distill.epochs": -1, "name.x": 1})  # type: ignore[arg-type]
    assert [p.path for p in caught.value.problems] == ["name.x", "distill.epochs"]


def test_changes_are_left_as_they_were(load: Callable[..., object]) -> None:
    """A path that reaches into another change's value does not write to the caller's."""
    init = {"kind": "random", "layers": 2}
    changes = {"student.init": init, "student.init.layers": 1}
    changed = spec_with(load(), changes)  # type: ignore[arg-type]
    assert changed.student.init.to_json()["layers"] == 1
    assert init == {"kind": "random", "layers": 2}
