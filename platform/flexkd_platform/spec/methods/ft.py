"""Fine-tuning: the baseline that distillation methods are compared with."""

from __future__ import annotations

from typing import Literal

from .method import MethodSettings


class FineTuning(MethodSettings):
    """Supervised training without a teacher, λ = 1."""

    kind: Literal["ft"]
