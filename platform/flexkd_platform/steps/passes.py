"""Group steps into passes over the training examples."""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import (
    CacheConfig,
    ChunkedConfig,
    Draw,
    GenerateConfig,
    ScoreConfig,
    Step,
    with_config,
)
from .chunked_pass import ChunkedPass
from .generation_pass import GenerationPass
from .teacher_pass import ScoringPass


def passes(missing: Sequence[Step]) -> list[ChunkedPass]:
    """The minimal set of passes for these score, cache and generate steps.

    Scores and caches of the same teacher share a pass if they read the same chunks: a score over
    drawn examples has a pass of its own.
    """
    scores, caches = with_config(missing, ScoreConfig), with_config(missing, CacheConfig)
    configs = [step.config for step in missing]
    scored = [config for config in configs if isinstance(config, ScoreConfig | CacheConfig)]
    shared = [
        ScoringPass(
            tuple(step for step in scores if _reads(step.config) == read),
            tuple(step for step in caches if _reads(step.config) == read),
        )
        for read in dict.fromkeys(_reads(config) for config in scored)
    ]
    return [*shared, *(GenerationPass(step) for step in with_config(missing, GenerateConfig))]


def _reads(config: ChunkedConfig) -> tuple[str, int, Draw | None]:
    """What the steps of a pass have in common: the teacher (and its data set) and the chunks."""
    return config.teacher.hash, config.chunk, config.draw
