"""Layers by name: within their model, the last with the last, never across stacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.plan import (
    LayerRef,
    Stacks,
    StackShape,
    layer_pairs,
    layer_refs,
    precedes_norm,
    stack_of,
)
from flexkd_platform.spec import METHODS, FeatureMethod, LayeredMethod

COUNTS = st.integers(1, 24)
LAYERED = [name for name, method in METHODS.items() if issubclass(method, LayeredMethod)]


def stacks_of(*counts: int, norm: bool = False) -> Stacks:
    """One stack of layers, or an encoder and a decoder, and whether each ends in a norm."""
    names = ("",) if len(counts) == 1 else ("encoder", "decoder")
    return tuple(StackShape(name, n, norm) for name, n in zip(names, counts, strict=True))


ONE, TWO = stacks_of(6), stacks_of(6, 4)
NORMED, NORMED_TWO = stacks_of(6, norm=True), stacks_of(6, 4, norm=True)

SHAPES = st.lists(COUNTS, min_size=1, max_size=2).map(lambda counts: stacks_of(*counts))
ANY_SHAPES = st.tuples(SHAPES, st.booleans()).map(
    lambda drawn: tuple(replace(stack, final_norm=drawn[1]) for stack in drawn[0])
)


def method(layers: Any, kind: str = "cka") -> FeatureMethod:
    made = METHODS[kind].model_validate({"kind": kind, "layers": layers})
    assert isinstance(made, FeatureMethod)
    return made


def number(ref: LayerRef) -> int:
    return int(str(ref).rpartition(".")[2])


# --- one model ---------------------------------------------------------------------------------


@given(SHAPES)
def test_last_without_a_norm_is_each_stacks_last_block(stacks: Stacks) -> None:
    refs = layer_refs("last", stacks)
    expected = [(stack.name, stack.layers) for stack in stacks]
    assert [(stack_of(ref), number(ref) + 1) for ref in refs] == expected
    assert refs == layer_refs(-1, stacks)
    assert not any(precedes_norm(ref, stacks) for ref in refs)


@given(SHAPES)
def test_last_with_a_norm_is_no_block(shapes: Stacks) -> None:
    """Its name is `last`; -1 is the last block, whose output the norm reads."""
    stacks = tuple(replace(stack, final_norm=True) for stack in shapes)
    refs = layer_refs("last", stacks)
    assert refs == (("last",) if len(stacks) == 1 else ("encoder.last", "decoder.last"))
    assert [stack_of(ref) for ref in refs] == [stack.name for stack in stacks]
    assert layer_refs(-1, stacks) == layer_refs(-1, shapes)
    for place, stack in enumerate(stacks):
        assert layer_refs(refs[place], stacks) == (refs[place],)
        for block in range(stack.layers):
            assert precedes_norm(stack.ref(block), stacks) == (block == stack.layers - 1)
        assert not precedes_norm(refs[place], stacks)


def test_last_of_stacks_of_which_one_has_a_norm() -> None:
    stacks = (StackShape("encoder", 6, final_norm=False), StackShape("decoder", 4, final_norm=True))
    assert layer_refs("last", stacks) == ("encoder.5", "decoder.last")
    assert layer_refs("encoder.last", stacks) == ("encoder.5",)
    assert precedes_norm("decoder.3", stacks)
    assert not precedes_norm("encoder.5", stacks)


@given(ANY_SHAPES, st.data())
def test_a_number_counts_from_either_end(stacks: Stacks, data: st.DataObject) -> None:
    fewest = min(stack.layers for stack in stacks)
    place = data.draw(st.integers(0, fewest - 1))
    assert [number(ref) for ref in layer_refs(place, stacks)] == [place] * len(stacks)
    back = layer_refs(-1 - place, stacks)
    assert [number(ref) for ref in back] == [stack.layers - 1 - place for stack in stacks]
    for ref in (*layer_refs(place, stacks), *back):
        assert layer_refs(ref, stacks) == (ref,)  # a name is its own meaning


@given(COUNTS, COUNTS, st.sampled_from(["encoder", "decoder"]), st.integers(-30, 30))
def test_a_stacks_name_names_it_alone(encoder: int, decoder: int, stack: str, layer: int) -> None:
    stacks = stacks_of(encoder, decoder)
    count = {"encoder": encoder, "decoder": decoder}[stack]
    if -count <= layer < count:
        assert layer_refs(f"{stack}.{layer}", stacks) == (f"{stack}.{layer % count}",)
    else:
        with pytest.raises(ValueError, match=f"there is no layer {stack}.{layer} in an? {stack}"):
            layer_refs(f"{stack}.{layer}", stacks)


@pytest.mark.parametrize(
    ("layer", "stacks", "message"),
    [
        (
            6,
            ONE,
            "there is no layer 6 in a model of 6 layers; layers are 0 to 5, or -1 to -6 from the "
            "end",
        ),
        (
            -7,
            ONE,
            "there is no layer -7 in a model of 6 layers; layers are 0 to 5, or -1 to -6 from the "
            "end",
        ),
        (
            5,
            TWO,
            "there is no layer 5 in a decoder of 4 layers; layers are 0 to 3, or -1 to -4 from "
            "the end",
        ),
        (
            "encoder.6",
            TWO,
            "there is no layer encoder.6 in an encoder of 6 layers; layers are 0 to 5, or -1 to "
            "-6 from the end",
        ),
        ("decoder.0", ONE, "the model has no decoder; give a number, for example 0"),
        ("decoder.last", NORMED, "the model has no decoder; give last"),
    ],
)
def test_a_layer_that_is_not_there(layer: LayerRef, stacks: Stacks, message: str) -> None:
    with pytest.raises(ValueError, match=r"there is no layer|the model has no decoder") as caught:
        layer_refs(layer, stacks)
    assert str(caught.value) == message


# --- two models --------------------------------------------------------------------------------


@given(st.sampled_from(LAYERED), COUNTS, COUNTS)
def test_every_layer_of_the_student_has_one_of_the_teachers(
    kind: str, kept: int, all_: int
) -> None:
    pairs = layer_pairs(method("every", kind), stacks_of(kept), stacks_of(all_), (all_ - 1,))
    ours, theirs = zip(*pairs, strict=True)
    assert ours == tuple(range(kept))
    assert theirs[-1] == all_ - 1
    assert all(0 <= layer < all_ for layer in theirs)
    assert list(theirs) == sorted(theirs)
    if kept <= all_:
        assert len(set(theirs)) == kept
        # Evenly: no two gaps differ by more than one layer.
        gaps = [b - a for a, b in zip((-1, *theirs), theirs, strict=False)]
        assert max(gaps) - min(gaps) <= 1


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_every_pairs_each_stack_by_itself(a: int, b: int, c: int, d: int) -> None:
    pairs = layer_pairs(method("every"), stacks_of(a, b), stacks_of(c, d), ("decoder.0",))
    assert len(pairs) == a + b
    assert all(stack_of(ours) == stack_of(theirs) for ours, theirs in pairs)
    for stack, kept, all_ in (("encoder", a, c), ("decoder", b, d)):
        alone = layer_pairs(method("every"), stacks_of(kept), stacks_of(all_), (0,))
        assert [(f"{stack}.{o}", f"{stack}.{t}") for o, t in alone] == [
            (ours, theirs) for ours, theirs in pairs if stack_of(ours) == stack
        ]


def test_every_by_example() -> None:
    """TinyBERT's 4 of 12: layers 3, 6, 9 and 12, counted from 1."""
    assert layer_pairs(method("every"), stacks_of(4), stacks_of(12), (11,)) == (
        (0, 2),
        (1, 5),
        (2, 8),
        (3, 11),
    )


@given(st.booleans(), st.booleans(), COUNTS, COUNTS, st.sampled_from(["last", "every"]))
def test_the_last_pair_is_last_with_last(
    ours: bool, theirs: bool, kept: int, all_: int, layers: str
) -> None:
    """Each by its own architecture, as the last of the hidden states of Hugging Face models."""
    student, teacher = stacks_of(kept, norm=ours), stacks_of(all_, norm=theirs)
    pairs = layer_pairs(method(layers), student, teacher, layer_refs("last", teacher))
    assert pairs[-1] == ("last" if ours else kept - 1, "last" if theirs else all_ - 1)
    plain = layer_pairs(method(layers), stacks_of(kept), stacks_of(all_), (all_ - 1,))
    assert pairs[:-1] == plain[:-1]  # the others are blocks in any case


def test_every_by_example_with_norms() -> None:
    student = stacks_of(2, 2, norm=True)
    assert layer_pairs(method("every"), student, NORMED_TWO, ("decoder.last",)) == (
        ("encoder.0", "encoder.2"),
        ("encoder.last", "encoder.last"),
        ("decoder.0", "decoder.1"),
        ("decoder.last", "decoder.last"),
    )


@given(ANY_SHAPES, st.data())
def test_last_meets_what_is_scored(teacher: Stacks, data: st.DataObject) -> None:
    student = tuple(replace(stack, layers=data.draw(COUNTS)) for stack in teacher)
    fewest = min(stack.layers for stack in teacher)
    layer = data.draw(st.integers(-fewest, -1) | st.just("last"))
    scored = layer_refs(layer, teacher)
    pairs = layer_pairs(method("last"), student, teacher, scored)
    assert pairs == tuple(zip(layer_refs("last", student), scored, strict=True))


def test_one_stack_scored_is_one_pair() -> None:
    student = stacks_of(2, 2)
    assert layer_pairs(method("last"), student, TWO, ("encoder.3",)) == (
        ("encoder.1", "encoder.3"),
    )


@pytest.mark.parametrize(
    ("layers", "student", "teacher", "expected"),
    [
        ({0: 2, 1: "last"}, stacks_of(2), ONE, ((0, 2), (1, 5))),
        ({"last": "last"}, stacks_of(2), ONE, ((1, 5),)),
        ({"last": "last"}, stacks_of(2, norm=True), NORMED, (("last", "last"),)),
        ({"last": "last"}, stacks_of(2), NORMED, ((1, "last"),)),
        # A block and the state after the norm are two layers.
        ({1: 5, "last": "last"}, stacks_of(2, norm=True), NORMED, ((1, 5), ("last", "last"))),
        (
            {"encoder.last": "encoder.-1", "decoder.last": "decoder.last"},
            stacks_of(2, 2, norm=True),
            NORMED_TWO,
            (("encoder.last", "encoder.5"), ("decoder.last", "decoder.last")),
        ),
        ({-1: -2}, stacks_of(2), ONE, ((1, 4),)),
        (
            {"encoder.0": "encoder.-1", "decoder.-1": "decoder.0"},
            stacks_of(2, 3),
            TWO,
            (("encoder.0", "encoder.5"), ("decoder.2", "decoder.0")),
        ),
        # A number alone means that layer of both stacks.
        ({0: -1}, stacks_of(2, 3), TWO, (("encoder.0", "encoder.5"), ("decoder.0", "decoder.3"))),
    ],
)
def test_maps(layers: Any, student: Stacks, teacher: Stacks, expected: Any) -> None:
    assert layer_pairs(method(layers), student, teacher, layer_refs("last", teacher)) == expected


TWICE: list[tuple[Any, Stacks, Stacks]] = [
    ({2: 3, -1: 3}, stacks_of(3), ONE),
    ({2: 3, -1: -3}, stacks_of(3), ONE),
    ({0: 1, "encoder.0": "encoder.1"}, stacks_of(2, 2), TWO),
]


@pytest.mark.parametrize("kind", LAYERED)
@pytest.mark.parametrize(("layers", "student", "teacher"), TWICE)
def test_a_pair_that_is_named_twice_is_refused(
    layers: Any, student: Stacks, teacher: Stacks, kind: str
) -> None:
    """Its loss would count twice."""
    first, second = (f"{ours}: {theirs}" for ours, theirs in layers.items())
    message = f"^layers {first} and {second} are the same pair; name it once$"
    with pytest.raises(ValueError, match=message):
        layer_pairs(method(layers, kind), student, teacher, layer_refs("last", teacher))


@pytest.mark.parametrize("kind", LAYERED)
def test_one_layer_of_the_student_with_two_of_the_teacher(kind: str) -> None:
    """Losses add up; but a layer has one projector, and both would go through it."""
    named = method({2: 3, -1: 5}, kind)
    if kind == "projector":
        with pytest.raises(
            ValueError, match=r"^layers 2: 3 and -1: 5 use the same student layer, "
        ):
            layer_pairs(named, stacks_of(3), ONE, (5,))
    else:
        assert layer_pairs(named, stacks_of(3), ONE, (5,)) == ((2, 3), (2, 5))


@pytest.mark.parametrize(
    ("layers", "student", "teacher", "message"),
    [
        ({2: 0}, stacks_of(2), ONE, "there is no layer 2 in a model of 2 layers"),
        ({0: 6}, stacks_of(2), ONE, "there is no layer 6 in a model of 6 layers"),
        ({0: "decoder.1"}, stacks_of(2), ONE, "the model has no decoder"),
        ({"encoder.0": "decoder.0"}, stacks_of(2, 2), TWO, "joins an encoder and a decoder"),
        ({"encoder.0": 0}, stacks_of(2, 2), TWO, "joins an encoder and a decoder"),
        ("last", stacks_of(2), TWO, "have no layers in common"),
        ("every", stacks_of(2, 2), ONE, "have no layers in common"),
    ],
)
def test_pairs_that_are_none(layers: Any, student: Stacks, teacher: Stacks, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_pairs(method(layers), student, teacher, layer_refs("last", teacher))
