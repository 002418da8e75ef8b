"""The names of the classes of a checkpoint's head, and how they are matched with those of data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from .errors import ModelError
from .facts import ModelFacts

_GENERIC = re.compile(r"label[ _-]?(\d+)", re.IGNORECASE)
"""Names that transformers gives to classes without one: `LABEL_0`."""


def head_names(facts: ModelFacts) -> tuple[str, ...]:
    """The names of a head's outputs, by index; empty if the checkpoint has no head or no names.

    They are `id2label` of the config, or `label2id` where `id2label` has its default.
    """
    if facts.outputs is None:
        return ()
    config = json.loads(facts.config)
    by_index = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
    if not by_index or all(map(is_generic, by_index.values())):
        found = config.get("label2id") or {}
        by_index = {int(index): str(name) for name, index in found.items()}
    names = tuple(by_index.get(index, "") for index in range(facts.outputs))
    known = all(names) and len(by_index) == facts.outputs
    return () if not known or all(map(is_generic, names)) else names


def is_generic(name: str) -> bool:
    """Whether a class name says no more than its index."""
    return _GENERIC.fullmatch(name.strip()) is not None


def matched_outputs(names: Sequence[str], held: Sequence[str], outputs: int) -> tuple[int, ...]:
    """For each class of the data the output of a checkpoint's head with the same name.

    Names are compared without regard to case, and to `_`, `-` and spaces. `LABEL_0` is output 0.
    Outputs that the data do not name follow in their order.

    Args:
        names: of the data's classes, by class.
        held: of the head's outputs; empty if it has none.
        outputs: of the head.

    Raises:
        ModelError: a class has no output of its name.
    """
    by_name: dict[str, int] = {}
    for index, name in enumerate(held):
        by_name.setdefault(_plain(name), index)
    found = [by_name.get(_plain(name), _index_of(name, outputs)) for name in names]
    lost = [name for name, index in zip(names, found, strict=True) if index is None]
    order = [index for index in found if index is not None]
    if lost or len(set(order)) < len(order):
        raise ModelError(
            f"its head has the classes {', '.join(held)}, and the data {', '.join(names)}",
            "rename the data's classes with task.label_names",
        )
    return (*order, *(index for index in range(outputs) if index not in order))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def _index_of(name: str, outputs: int) -> int | None:
    """The index in a generic name, if the head has it."""
    found = _GENERIC.fullmatch(name.strip())
    index = int(found[1]) if found else outputs
    return index if index < outputs else None
