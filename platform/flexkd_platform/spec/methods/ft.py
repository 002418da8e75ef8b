"""Fine-tuning: what every distillation has to beat."""

from __future__ import annotations

from typing import Literal

from ..section import Section


class FineTuning(Section):
    """Supervised training without a teacher, λ = 1."""

    kind: Literal["ft"]
