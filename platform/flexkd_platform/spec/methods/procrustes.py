"""Features compared up to a rotation (arXiv:2509.25253)."""

from __future__ import annotations

from typing import Literal

from .weights import LayeredMethod


class ProcrustesDistillation(LayeredMethod):
    """Orthogonal Procrustes distance of the two normalised feature matrices."""

    kind: Literal["procrustes"]
