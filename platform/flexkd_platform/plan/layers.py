"""Layer names, and the pairs of student and teacher layers that are compared.

A layer is a number in a model with one stack of layers, and `encoder.3` or `decoder.3` in a model
with two. Stacks are given as their names and numbers of layers: `(("", 12),)`, or
`(("encoder", 6), ("decoder", 6))`.
"""

from __future__ import annotations

from ..spec import MethodSettings

LayerRef = int | str
Stacks = tuple[tuple[str, int], ...]
Pair = tuple[LayerRef, LayerRef]


def layer_refs(layer: LayerRef, stacks: Stacks) -> tuple[LayerRef, ...]:
    """The layers that `last`, a number or `decoder.-1` selects, one for each stack it names.

    Raises:
        ValueError: the layer does not exist; the message lists the valid ones.
    """
    counts = dict(stacks)
    named, _, number = layer.rpartition(".") if isinstance(layer, str) else ("", "", layer)
    if named and named not in counts:
        raise ValueError(f"the model has no {named}; give a number, for example {number}")
    meant = [named] if named else list(counts)
    found: list[LayerRef] = []
    for stack in meant:
        count = counts[stack]
        index = count - 1 if number == "last" else int(number)
        index += count if index < 0 else 0
        if not 0 <= index < count:
            where = f"{stack} of {count} layers" if stack else f"model of {count} layers"
            raise ValueError(
                f"there is no layer {layer} in {'an' if stack == 'encoder' else 'a'} {where}; "
                f"layers are 0 to {count - 1}, or -1 to -{count} from the end"
            )
        found.append(f"{stack}.{index}" if stack else index)
    return tuple(found)


def stack_of(layer: LayerRef) -> str:
    """`encoder` or `decoder`; "" in a model of one stack."""
    return layer.partition(".")[0] if isinstance(layer, str) else ""


def layer_pairs(
    method: MethodSettings, student: Stacks, teacher: Stacks, scored: tuple[LayerRef, ...]
) -> tuple[Pair, ...]:
    """Pairs `(student layer, teacher layer)` whose features a method compares, losses summed.

    Args:
        scored: the teacher layers that `score.layer` selects, which `last` matches.

    Raises:
        ValueError: a map names a layer that does not exist, joins two stacks, or names a pair
            twice, as -1 and 2 may; or the models have different stacks.
    """
    if dict(student).keys() != dict(teacher).keys():
        raise ValueError("an encoder–decoder and a single-stack model have no layers in common")
    layers = method.layer_map
    if layers == "last":
        last = {stack_of(ref): ref for ref in layer_refs("last", student)}
        return tuple((last[stack_of(ref)], ref) for ref in scored)
    if layers == "every":
        return _every(student, teacher)
    assert isinstance(layers, dict)
    pairs: list[Pair] = []
    entries: list[str] = []
    for ours, theirs in layers.items():
        mine = layer_refs(ours if "." in ours else int(ours), student)
        yours = layer_refs(theirs, teacher)
        if [stack_of(ref) for ref in mine] != [stack_of(ref) for ref in yours]:
            raise ValueError(f"layers {ours}: {theirs} joins an encoder and a decoder")
        pairs += zip(mine, yours, strict=True)
        entries += [f"{ours}: {theirs}"] * len(mine)
    _refuse_twice(pairs, entries, projected=method.projects)
    return tuple(pairs)


def _refuse_twice(pairs: list[Pair], entries: list[str], *, projected: bool) -> None:
    """Reject repeated pairs and, for a projector, repeated student layers.

    The loss of a repeated pair would count twice. A projector has one map per student layer.
    """
    for later, pair in enumerate(pairs):
        for first, other in enumerate(pairs[:later]):
            both = f"layers {entries[first]} and {entries[later]}"
            if pair == other:
                raise ValueError(f"{both} are the same pair; name it once")
            if projected and pair[0] == other[0]:
                raise ValueError(
                    f"{both} use the same student layer, which has only one projector; "
                    "name each student layer once"
                )


def _every(student: Stacks, teacher: Stacks) -> tuple[Pair, ...]:
    """Student layer i of S with teacher layer ⌊(i + 1)·T / S⌋ − 1 of T: evenly spaced."""
    counts = dict(teacher)
    pairs: list[Pair] = []
    for stack, kept in student:
        for ours in range(kept):
            theirs = max(0, (ours + 1) * counts[stack] // kept - 1)
            pairs.append((f"{stack}.{ours}", f"{stack}.{theirs}") if stack else (ours, theirs))
    return tuple(pairs)
