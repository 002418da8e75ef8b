"""YAML as people expect it, and dotted paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.spec import SpecError
from flexkd_platform.spec.document import join_path, line_of, parse_yaml, set_path, split_path

NAMES = st.text(st.characters(codec="ascii", exclude_characters='.[]"'), min_size=1, max_size=6)
DOTTED = st.lists(NAMES, min_size=1, max_size=3).map(".".join)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e3", 1000.0),
        ("-2.5E+1", -25.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+.5e1", 5.0),
        (".inf", float("inf")),
        ("-.Inf", float("-inf")),
        ("12", 12),
        ("-7", -7),
        ("0", 0),
        ("0x10", 16),
    ],
)
def test_numbers(text: str, value: float) -> None:
    parsed = parse_yaml(text, "")
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    "word",
    ["off", "on", "yes", "no", "NO", "y", "2024-01-31", "1e", "e4", ".", "1.2.3", "v1.5"],
)
def test_words_stay_words(word: str) -> None:
    assert parse_yaml(word, "") == word


@pytest.mark.parametrize("text", ["010", "1:30", "1_000", "0b11", "1_0.5", "0o10"])
def test_what_yaml_1_1_alone_takes_for_a_number_stays_text(text: str) -> None:
    """Read as 8, 90 or 1000 it would be another seed than the one that is written."""
    assert parse_yaml(text, "") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'3'", "3")],
)
def test_other_scalars(text: str, value: object) -> None:
    assert parse_yaml(text, "") is value or parse_yaml(text, "") == value == "3"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: !!int foo", "line 1, column 4", "'foo' cannot be read as int"),
        ("a:\n  - !!float foo", "line 2, column 5", "'foo' cannot be read as float"),
        ("a: !!bool foo", "line 1, column 4", "'foo' cannot be read as bool"),
        ("a: !!timestamp foo", "line 1, column 4", "'foo' cannot be read as timestamp"),
        ("a: !!set [b]", "line 1, column 4", "expected a mapping node, but found sequence"),
        (f"a: {'9' * 5000}", "line 1, column 4", f"'{'9' * 39}…' cannot be read as int"),
        ("[" * 2000, "line 1, column 65", "there are more than 64 levels of lists and mappings"),
        ("a: " + "{b: " * 64, "line 1, column 253", "there are more than 64 levels"),
    ],
    ids=lambda value: value[:20],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "job.yaml")
    (problem,) = caught.value.problems
    assert problem.path == place
    assert problem.message.startswith(f"invalid YAML: {message}")


def test_as_many_levels_are_read_as_are_allowed() -> None:
    parsed = parse_yaml("[" * 63 + "1" + "]" * 63, "")
    for _ in range(63):
        (parsed,) = parsed
    assert parsed == 1


def test_a_merged_mapping_gives_way_to_the_keys_beside_it() -> None:
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n"
    assert parse_yaml(text, "") == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


@given(st.lists(NAMES | DOTTED | st.integers(0, 999), min_size=1, max_size=5))
def test_paths_survive_being_written(parts: list[str | int]) -> None:
    assert split_path(join_path(tuple(parts))) == tuple(parts)


def test_paths_as_they_are_written() -> None:
    path = 'sweep.methods[2].alpha["a.b"][0]'
    parts = ("sweep", "methods", 2, "alpha", "a.b", 0)
    assert split_path(path) == parts
    assert join_path(parts) == path


def test_lines_of_paths() -> None:
    text = "a: 1\nb:\n  c:\n    - x\n    - {d: 1,\n       e: 2}\nf.g: 3\n"
    expected = {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "c", 1, "e"): 6,
        ("f.g",): 7,
        # the nearest part that is there
        ("b", "c", 9): 3,
        ("b", "nothing", "more"): 2,
        ("a", "more"): 1,
        ("nothing",): None,
    }
    assert {path: line_of(text, path) for path in expected} == expected


def test_set_path_makes_the_sections_on_its_way() -> None:
    data = {"a": None, "b": [{"c": 1}, 2]}
    set_path(data, "a.x.y", 3)
    set_path(data, "b[0].c", 4)
    set_path(data, "b[1]", 5)
    assert data == {"a": {"x": {"y": 3}}, "b": [{"c": 4}, 5]}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "the path is empty"),
        ("b[2]", "b has only 2 entries"),
        ("b.c", "b has no part 'c'"),
        ("a.x.y", "a.x has no part 'y'"),
        ("[0]", "the spec has no part 0"),
        ("a" + ".x" * 64, "the path has 65 parts; the limit is 64"),
        (f"b[{'9' * 5000}]", f"b has no part '{'9' * 5000}'"),
    ],
)
def test_paths_that_lead_nowhere(path: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[") + "$"):
        set_path({"a": {"x": 1}, "b": [1, 2]}, path, 0)
