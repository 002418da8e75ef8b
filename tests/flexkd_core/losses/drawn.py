"""Features and logits to take losses of, in fp64 and the same ones every time."""

from __future__ import annotations

import torch


def features(rows: int, units: int, seed: int) -> torch.Tensor:
    """Standard normal, (rows, units)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, units, dtype=torch.float64, generator=generator)


def logits(seed: int, rows: int = 6, classes: int = 9) -> torch.Tensor:
    """Far enough apart for softmax to matter, (rows, classes)."""
    return 3 * features(rows, classes, seed)
