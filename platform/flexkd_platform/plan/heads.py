"""Which classification head a model that is loaded from a checkpoint gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HeadUse:
    """The use of a checkpoint's own head, if it has one.

    order: for each class of the data the output of the checkpoint's head; empty: the same index.
    new: the head is drawn although the checkpoint holds one of this size.
    """

    order: tuple[int, ...] = ()
    new: bool = False

    def to_identity(self) -> dict[str, Any]:
        """The part of a model's identity; empty for a head that is used as it is."""
        identity: dict[str, Any] = {}
        if self.order and self.order != tuple(range(len(self.order))):
            identity["head_order"] = list(self.order)
        if self.new:
            identity["head"] = "new"
        return identity
