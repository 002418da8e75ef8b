"""Find a model's hidden layers: the list of blocks of each stack, and the norm that ends it.

Shapes: B examples, T positions, D hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...model_info.errors import ModelError
from ...model_info.family import Stack
from ...spec import ModulePaths
from .small import FIRST_WORD, VOCABULARY
from .trace import Trace, lists_of, same, shown, trace

OTHER_MODEL = "name a model of another architecture; see flexkd list models"

ROWS, LONG, SHORT = 3, 9, 6  # examples, and tokens of a source and of a target

_COUNTS = {
    "": ("num_hidden_layers",),
    "encoder": ("encoder_layers", "num_hidden_layers", "num_layers"),
    "decoder": ("decoder_layers", "num_decoder_layers", "num_hidden_layers"),
}
"""Config keys of a stack's number of layers; the first one that a config has counts."""


@dataclass(frozen=True, eq=False)
class _Outputs:
    """What the model returns about one stack.

    last_BTD: its final hidden state, which a head reads.
    states: its hidden states, the embeddings' first; None if the model returns none.
    """

    last_BTD: Tensor
    states: Sequence[Tensor] | None


def words(length: int, rows: int = ROWS, seed: int = 0) -> Tensor:
    """(rows, length) random token ids, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(FIRST_WORD, VOCABULARY, (rows, length), generator=generator)


def inputs_of(*, encoder_decoder: bool) -> dict[str, Tensor]:
    """Unpadded input for a small copy."""
    ids_BT = words(LONG)
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    if encoder_decoder:
        inputs["input_ids"][:, -1] = 1  # the end-of-text token
        inputs["decoder_input_ids"] = words(SHORT, seed=1)
    return inputs


def find_stacks(backbone: nn.Module, config: Any, named: ModulePaths) -> dict[str, Stack]:
    """The stacks of a small copy's backbone, by name.

    Raises:
        ModelError: they cannot be found, or what is found is not what the model returns.
    """
    encoder_decoder = bool(config.is_encoder_decoder)
    inputs = inputs_of(encoder_decoder=encoder_decoder)
    seen = trace(backbone, inputs)
    states = _hidden_states(backbone, inputs)
    names = ("encoder", "decoder") if encoder_decoder else ("",)
    return {
        name: _find(name, backbone, config, seen, _outputs_of(name, seen.output, states), named)
        for name in names
    }


def _find(
    name: str,
    backbone: nn.Module,
    config: Any,
    seen: Trace,
    given: _Outputs,
    named: ModulePaths,
) -> Stack:
    what = f"the {name} of this {config.model_type} model" if name else f"this {config.model_type}"
    lists = lists_of(backbone)
    key = next((key for key in _COUNTS[name] if isinstance(getattr(config, key, None), int)), "")
    path = named.layers_of(name)
    if path is None:
        path = _only(name, what, lists, config, key, seen, given)
    else:
        _verify_named(path, what, lists, config, seen, given)
    norm = _norm(what, lists[path], seen, given, named.norm_of(name))
    return Stack(path, inner="", layers=key, heads="", norm=norm)


def _verify_named(
    path: str,
    what: str,
    lists: Mapping[str, tuple[str, ...]],
    config: Any,
    seen: Trace,
    given: _Outputs,
) -> None:
    """Raise ModelError unless the list that a spec names holds layers."""
    if path not in lists:
        raise ModelError(
            f"{path} is not a list of modules of {what}", f"its lists are {shown(lists)}"
        )
    if reason := _no_layers(lists[path], seen, given, config.hidden_size):
        raise ModelError(
            f"{path} does not hold the layers of {what}: {reason}",
            f"name another of its lists: {shown(lists)}",
        )


def _only(
    name: str,
    what: str,
    lists: Mapping[str, tuple[str, ...]],
    config: Any,
    key: str,
    seen: Trace,
    given: _Outputs,
) -> str:
    """The one list whose modules return the model's hidden states."""
    remedy = f"set modules.layers{'.' if name else ''}{name} to the path of its list of layers: "
    remedy += shown(lists)
    if not key:
        raise ModelError(f"{what} has no num_hidden_layers in its config", remedy)
    count = getattr(config, key)
    long = {path: inside for path, inside in lists.items() if len(inside) == count}
    if not long:
        raise ModelError(f"no list of modules of {what} is as long as {key}, {count}", remedy)
    width = config.hidden_size
    wrong = {path: _no_layers(inside, seen, given, width) for path, inside in long.items()}
    if all(wrong.values()):
        said = "; ".join(f"{path}: {reason}" for path, reason in list(wrong.items())[:3])
        raise ModelError(f"{what} has no layers that can be read: {said}", OTHER_MODEL)
    reasons = {p: _other_states(long[p], seen, given) for p, why in wrong.items() if not why}
    fitting = [path for path, reason in reasons.items() if not reason]
    # A list inside the layers of another one may be as long by chance.
    outer = [p for p in fitting if not any(p.startswith(f"{other}.") for other in fitting)]
    if len(outer) == 1:
        return outer[0]
    if outer:
        raise ModelError(
            f"several lists of modules may be the layers of {what}: {shown(outer)}", remedy
        )
    said = "; ".join(f"{path}: {reason}" for path, reason in list(reasons.items())[:3])
    raise ModelError(f"the layers of {what} are not found: {said}", remedy)


def _no_layers(inside: Sequence[str], seen: Trace, given: _Outputs, width: int) -> str:
    """Why modules cannot be layers of a stack, of this width; empty if they can."""
    if not inside:
        return "it is empty"
    texts, tokens = given.last_BTD.shape[:2]
    for path in inside:
        if (runs := seen.runs(path)) != 1:
            return f"{path} runs {runs} times in a forward pass"
        state = seen.states.get(path)
        if state is None:
            return f"{path} returns no hidden state"
        if state.ndim != 3 or tuple(state.shape[:2]) != (texts, tokens):
            return f"{path} returns {tuple(state.shape)} for {texts} texts of {tokens} tokens"
        if state.shape[2] != width:
            return f"{path} returns states of width {state.shape[2]}, not hidden_size, {width}"
    if list(inside) != [path for path in seen.order if path in inside]:
        return "they do not run in order"
    return ""


def _other_states(inside: Sequence[str], seen: Trace, given: _Outputs) -> str:
    """Why modules are not the model's layers: it returns other hidden states; empty if they are."""
    if given.states is None:
        return "the model returns no hidden states to compare with"
    if len(given.states) != len(inside) + 1:
        return f"the model returns {len(given.states)} hidden states"
    # Some models return the embeddings first, others the last layer's output besides the norm's.
    for first in (1, 0):
        pairs = zip(inside[:-1], given.states[first:], strict=False)
        if all(same(seen.states[path], state_BTD) for path, state_BTD in pairs):
            return ""
    return "they do not return the hidden states of the model"


def _norm(
    what: str, inside: Sequence[str], seen: Trace, given: _Outputs, named: str | None
) -> str | None:
    """The module whose output is the stack's final hidden state; None if the last layer's is."""
    last = inside[-1]
    after = [path for path in seen.after(last) if path in seen.states]
    around = {path for path in after if last.startswith(f"{path}.")}
    candidates = [path for path in after if path not in around]
    if named is not None:
        state = seen.states.get(named)
        if named not in candidates or state is None or state.shape != seen.states[last].shape:
            raise ModelError(
                f"{named} does not process the output of {last}, the last layer of {what}",
                f"modules after it are {shown(dict.fromkeys(candidates))}",
            )
        return named
    if same(seen.states[last], given.last_BTD):
        return None
    found = [path for path in candidates if same(seen.states[path], given.last_BTD)]
    if not found:
        raise ModelError(
            f"what follows {last}, the last layer of {what}, is not one module whose output is the "
            "final hidden state",
            "set modules.norm to the norm after the last layer: "
            + shown(dict.fromkeys(candidates)),
        )
    return found[0]


def _hidden_states(backbone: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    try:
        with torch.no_grad():
            return backbone(**inputs, output_hidden_states=True)
    except Exception:  # a model without them raises anything; its layers can be named
        return None


def _outputs_of(name: str, output: Any, states: Any) -> _Outputs:
    last = "encoder_last_hidden_state" if name == "encoder" else "last_hidden_state"
    key = f"{name}_hidden_states" if name else "hidden_states"
    found = output[last] if last in output else output[0]
    return _Outputs(found, None if states is None else states.get(key))
