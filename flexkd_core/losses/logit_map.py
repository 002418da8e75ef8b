"""What a language model does to its head's product before it calls it logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogitMap:
    """Logits of a head's product z (with its bias): c · tanh(s · z / c), or s · z without a cap.

    Elementwise, differentiable, in the dtype of z; z itself at the defaults.

    Raises:
        ValueError: a scale or a cap that is not positive and finite.

    Source: soft-capping, Gemma 2, arXiv:2408.00118, Section 2.
    """

    scale: float = 1.0
    """s: `logit_scale` in Cohere's configs, 1 / `logits_scaling` in Granite's."""

    cap: float | None = None
    """c: `final_logit_softcapping` in Gemma's configs; None for logits without a limit."""

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("cap", self.cap)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} {value} must be positive and finite")

    def __call__(self, product: Tensor) -> Tensor:
        """The logits, of the product's shape."""
        logits = product if self.scale == 1 else product * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)
