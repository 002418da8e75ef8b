"""What is learned: the task, its examples, and what is measured on the student."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .section import Section
from .sources import BuiltinData, BuiltinDocstrings, DataSource, DocumentSource, InstructionSource


def _no_split(name: str) -> str:
    if name in {"train", "validation", "test"}:
        raise ValueError(f"{name!r} is a split of the task's own data; give the set another name")
    return name


SetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$"), AfterValidator(_no_split)]
DATA = "where the examples come from"
EVALUATION = "more sets to measure on, by name; of each its test split, or all of a single file"


class TextTask(Section):
    """A label for each text, or for each pair of texts."""

    data: DataSource = Field(default_factory=BuiltinData, description=DATA)
    evaluation: dict[SetName, DataSource] = Field(default_factory=dict, description=EVALUATION)
    max_length: int = Field(64, gt=1, description="tokens kept of a text, special tokens included")
    padding: Literal["right", "left"] = Field("right", description="side that batches are padded")


class ClassificationTask(TextTask):
    """One class per text; labels are whole numbers from 0."""

    kind: Literal["classification"] = "classification"
    classes: int | None = Field(
        None, ge=2, description="classes of the head; the largest label + 1 when left out"
    )


class RegressionTask(TextTask):
    """One number per text."""

    kind: Literal["regression"]


class InstructionTask(Section):
    """A response to each instruction, by a causal language model."""

    kind: Literal["instruction"]
    data: InstructionSource = Field(default_factory=BuiltinDocstrings, description=DATA)
    evaluation: dict[SetName, InstructionSource] = Field(
        default_factory=dict, description=EVALUATION
    )
    template: Literal["alpaca", "none"] = Field(
        "alpaca", description="how an instruction becomes a prompt; none: the instruction is it"
    )
    max_prompt: int = Field(256, gt=0, description="tokens kept of a prompt")
    max_response: int = Field(
        256, gt=0, description="tokens kept of a training response, its end included"
    )


class SummarizationTask(Section):
    """A summary of each document, by an encoder–decoder."""

    kind: Literal["summarization"]
    data: DocumentSource = Field(default_factory=BuiltinDocstrings, description=DATA)
    evaluation: dict[SetName, DocumentSource] = Field(default_factory=dict, description=EVALUATION)
    prefix: str = Field("", description="put before each document, as T5's `summarize: `")
    max_prompt: int = Field(1024, gt=0, description="tokens kept of a document, its end included")
    max_response: int = Field(
        128, gt=0, description="tokens kept of a training summary, its end included"
    )


LabelTask = ClassificationTask | RegressionTask
"""Tasks whose students put out one row of numbers an example."""

GenerationTask = InstructionTask | SummarizationTask
"""Tasks whose students write text."""

Task = Annotated[
    ClassificationTask | RegressionTask | InstructionTask | SummarizationTask,
    Field(discriminator="kind"),
]

Metric = Literal[
    "accuracy",
    "f1",
    "matthews",
    "accuracy_f1",
    "pearson",
    "spearman",
    "pearson_spearman",
    "mse",
    "rougeL",
    "rouge1",
    "rouge2",
    "bertscore",
    "nll",
]

METRICS: dict[str, tuple[Metric, ...]] = {
    "classification": ("accuracy", "f1", "matthews", "accuracy_f1"),
    "regression": ("pearson", "spearman", "pearson_spearman", "mse"),
    "instruction": ("rougeL", "rouge1", "rouge2", "bertscore", "nll"),
    "summarization": ("rouge2", "rougeL", "rouge1", "bertscore", "nll"),
}
"""Which metrics each task can report; the first one ranks."""

LOWER_IS_BETTER = frozenset({"mse", "nll"})
"""Metrics that a good model has little of."""

ON_REQUEST = frozenset({"accuracy_f1", "pearson_spearman", "rouge1", "bertscore"})
"""Metrics that are reported only where the spec names them."""
