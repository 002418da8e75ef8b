"""Layer names, and the pairs of student and teacher layers that are compared.

A number is the output of one block: 3 in a model with one stack of blocks, `encoder.3` or
`decoder.3` in a model with two. `last`, `encoder.last` or `decoder.last` is the output of the norm
that ends the stack, which the head reads. In a stack without such a norm the head reads the last
block's output, and `last` resolves to its number.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import MethodSettings, counted

LayerRef = int | str
Pair = tuple[LayerRef, LayerRef]


@dataclass(frozen=True)
class StackShape:
    """One stack of a model.

    name: "" in a model with one stack, `encoder` or `decoder` in a model with two.
    layers: number of its blocks.
    final_norm: whether a norm follows the last block.
    """

    name: str
    layers: int
    final_norm: bool

    def ref(self, place: int | str) -> LayerRef:
        """The name of a block's output, or of `last`."""
        return f"{self.name}.{place}" if self.name else place

    @property
    def last(self) -> LayerRef:
        """The hidden state that the head reads: after the final norm where there is one."""
        return self.ref("last" if self.final_norm else self.layers - 1)


Stacks = tuple[StackShape, ...]


def layer_refs(layer: LayerRef, stacks: Stacks) -> tuple[LayerRef, ...]:
    """The layers that `last`, a number or `decoder.last` selects, one for each stack it names.

    Raises:
        ValueError: the layer does not exist; the message lists the valid ones.
    """
    named, _, place = str(layer).rpartition(".")
    meant = [stack for stack in stacks if not named or stack.name == named]
    if not meant:
        example = "last" if place == "last" else f"a number, for example {place}"
        raise ValueError(f"the model has no {named}; give {example}")
    if place == "last":
        return tuple(stack.last for stack in meant)
    found: list[LayerRef] = []
    for stack in meant:
        count = stack.layers
        index = int(place) + (count if int(place) < 0 else 0)
        if not 0 <= index < count:
            where = f"{stack.name or 'model'} of {counted(count, 'layer')}"
            raise ValueError(
                f"there is no layer {layer} in {'an' if stack.name == 'encoder' else 'a'} {where}; "
                f"layers are 0 to {count - 1}, or -1 to -{count} from the end"
            )
        found.append(stack.ref(index))
    return tuple(found)


def stack_of(layer: LayerRef) -> str:
    """`encoder` or `decoder`; "" in a model of one stack."""
    return layer.rpartition(".")[0] if isinstance(layer, str) else ""


def precedes_norm(layer: LayerRef, stacks: Stacks) -> bool:
    """Whether a layer is the last block's own output, which only a norm reads.

    What the model computes then does not depend on the scale of the layer's output.
    """
    return any(stack.final_norm and layer == stack.ref(stack.layers - 1) for stack in stacks)


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
    if {stack.name for stack in student} != {stack.name for stack in teacher}:
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
        mine = layer_refs(ours, student)
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
    """Student layer i of S with teacher layer ⌊(i + 1)·T / S⌋ − 1 of T: evenly spaced.

    They are block outputs, except that the last pair is `last` with `last`, as in the hidden states
    of Hugging Face models.
    """
    by_name = {stack.name: stack for stack in teacher}
    pairs: list[Pair] = []
    for ours in student:
        theirs = by_name[ours.name]
        for place in range(ours.layers - 1):
            spaced = max(0, (place + 1) * theirs.layers // ours.layers - 1)
            pairs.append((ours.ref(place), theirs.ref(spaced)))
        pairs.append((ours.last, theirs.last))
    return tuple(pairs)
