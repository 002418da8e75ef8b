"""Features compared by centred kernel alignment (Dasgupta & Cohn 2025)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .method import LossSettings
from .weights import LayeredMethod


class CkaDistillation(LayeredMethod):
    """1 − linear CKA of the two feature matrices."""

    kind: Literal["cka"]
    form: Literal["sqrt", "kornblith"] = Field("sqrt", description="which of the two CKA formulas")

    @property
    def feature_loss(self) -> LossSettings:
        """CKA in the chosen form."""
        return LossSettings("cka", {"form": self.form})
