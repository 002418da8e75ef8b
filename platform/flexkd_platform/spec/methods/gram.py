"""Features compared by the similarities between rows (arXiv:2509.25253)."""

from __future__ import annotations

from typing import Literal

from .weights import LayeredMethod


class GramDistillation(LayeredMethod):
    """Distance between the Gram matrices of the two normalised feature matrices."""

    kind: Literal["gram"]
