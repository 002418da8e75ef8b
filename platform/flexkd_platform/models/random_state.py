"""Random draws that leave the caller's random state as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def kept_random_state(seed: int) -> Iterator[None]:
    """Seed the CPU's random draws inside; the caller's random state is restored on exit."""
    with torch.random.fork_rng(devices=[]):
        # Only the CPU's generator: torch.manual_seed would seed the GPUs' as well.
        torch.default_generator.manual_seed(seed)
        yield
