"""The task: its examples, and the metrics of its students."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from .decoding import Beam, Decoding, Sampling
from .pattern import SHORT_NAME, Pattern
from .section import Section, later_field
from .sources import (
    BuiltinData,
    BuiltinDocstrings,
    DataSource,
    DocumentSource,
    InstructionSource,
    LabelListSource,
    OwnData,
    OwnDocuments,
    OwnInstructions,
    OwnLabelLists,
)


def _no_split(name: str) -> str:
    if name in {"train", "validation", "test"}:
        raise ValueError(f"{name!r} is a split of the task's own data; give the set another name")
    return name


SetName = Annotated[str, Pattern(r"^[a-z0-9][a-z0-9_-]*$", SHORT_NAME), AfterValidator(_no_split)]
DATA = "where the examples come from"
EVALUATION = "more sets to measure on, by name; of each its test split, or all of a single file"


class TaskKind(Section):
    """A kind of task: its class attributes describe it, its fields are its settings in a spec.

    version: set by tasks of other packages; part of the steps' hashes.
    metrics: metrics that can be reported; the first one ranks.
    on_request: metrics that are reported only if the spec names them.
    lower_is_better: metrics for which lower values are better.
    validation_metric: the metric that selects the best checkpoint.
    head: name of the supervised loss and the metrics in `tasks.HEADS`.
    scored_outputs: outputs F that units can be scored by; the first one is the default.
    forward_examples: examples in one forward of the scoring pass.
    """

    version: ClassVar[int | None] = None
    metrics: ClassVar[tuple[str, ...]]
    on_request: ClassVar[frozenset[str]] = frozenset()
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    validation_metric: ClassVar[str]
    head: ClassVar[str]
    scored_outputs: ClassVar[tuple[str, ...]]
    forward_examples: ClassVar[int]

    @classmethod
    def validation_metrics(cls) -> tuple[str, ...]:
        """The metrics that are computed on the validation split."""
        return cls.metrics


Positive = Annotated[float, Field(gt=0)]
Threshold = Annotated[float, Field(gt=0, lt=1)] | Literal["validation"]
ClassWeights = Literal["none", "balanced"] | dict[str, Positive]

CLASSES = "classes of the head; the labels of the train split when left out"
LABEL_NAMES = (
    'names of the classes by label, as `{"0": negative, "1": positive}`; '
    "a checkpoint's head is matched by them, and saved models show them"
)


class TextTask(TaskKind):
    """A label for each text, or for each pair of texts."""

    forward_examples: ClassVar[int] = 16

    data: OwnData = Field(default_factory=BuiltinData, description=DATA)
    evaluation: dict[SetName, DataSource] = Field(default_factory=dict, description=EVALUATION)
    max_length: int = Field(64, gt=1, description="tokens kept of a text, special tokens included")
    padding: Literal["right", "left"] = Field("right", description="side that batches are padded")


class ClassificationTask(TextTask):
    """One class per text; labels are whole numbers, or words."""

    metrics: ClassVar = ("accuracy", "f1", "matthews", "accuracy_f1")
    on_request: ClassVar = frozenset({"accuracy_f1"})
    validation_metric: ClassVar = "accuracy"
    head: ClassVar = "classes"
    scored_outputs: ClassVar = (
        "predicted_logit",
        "label_logit",
        "label_logprob",
        "logit_jacobian",
        "loss",
    )

    kind: Literal["classification"] = "classification"
    classes: int | None = Field(None, ge=2, description=CLASSES)
    label_names: dict[str, str] = later_field({}, description=LABEL_NAMES)
    class_weights: ClassWeights = later_field(
        "none",
        description="weights w of the classes in the supervised loss, Σ w(y) · loss / Σ w(y): "
        "balanced is n / (classes · n of the class) of the training rows; or "
        "{class: weight}, 1 for others",
    )


class MultilabelTask(TextTask):
    """Any number of classes per text."""

    metrics: ClassVar = (
        "micro_f1",
        "macro_f1",
        "subset_accuracy",
        "hamming_loss",
        "average_precision",
    )
    lower_is_better: ClassVar = frozenset({"hamming_loss"})
    validation_metric: ClassVar = "micro_f1"
    head: ClassVar = "labels"
    scored_outputs: ClassVar = ("logit_jacobian", "predicted_logit", "loss")

    kind: Literal["multilabel"]
    data: OwnLabelLists = Field(description=DATA)  # type: ignore[assignment]
    evaluation: dict[SetName, LabelListSource] = Field(  # type: ignore[assignment]
        default_factory=dict, description=EVALUATION
    )
    classes: int | None = Field(None, ge=2, description=CLASSES)
    label_names: dict[str, str] = Field(default_factory=dict, description=LABEL_NAMES)
    class_weights: ClassWeights = Field(
        "none",
        description="weights w of the positive part of the supervised loss, by class: balanced is "
        "negatives / positives of the training rows; or {class: weight}, 1 for others",
    )
    threshold: Threshold = Field(
        0.5,
        description="probability from which a class is predicted, between 0 and 1; validation: the "
        "one with the highest micro F1 on the validation split",
    )


class RegressionTask(TextTask):
    """One number per text."""

    metrics: ClassVar = ("pearson", "spearman", "pearson_spearman", "mse")
    on_request: ClassVar = frozenset({"pearson_spearman"})
    lower_is_better: ClassVar = frozenset({"mse"})
    validation_metric: ClassVar = "pearson"
    head: ClassVar = "number"
    scored_outputs: ClassVar = ("value", "loss")

    kind: Literal["regression"]


class ResponseTask(TaskKind):
    """A generated text for each prompt.

    language_model: the architecture that generates it: a causal language model continues the
        prompt, the decoder of an encoder–decoder (seq2seq) answers it.
    decoding, max_new_tokens: how text is generated, and the maximum number of tokens, unless the
        spec sets them.
    """

    language_model: ClassVar[Literal["causal", "seq2seq"]]
    decoding: ClassVar[Decoding]
    max_new_tokens: ClassVar[int]
    on_request: ClassVar = frozenset({"rouge1", "bertscore"})
    lower_is_better: ClassVar = frozenset({"nll"})
    validation_metric: ClassVar = "nll"
    head: ClassVar = "tokens"
    scored_outputs: ClassVar = ("label_logprob", "loss")
    forward_examples: ClassVar[int] = 8

    @classmethod
    def validation_metrics(cls) -> tuple[str, ...]:
        """Only the metrics that need no generated text."""
        return ("nll",)

    @classmethod
    def writes_for(cls, metrics: Iterable[str]) -> bool:
        """Whether any of these metrics needs generated text."""
        return bool(set(metrics) - set(cls.validation_metrics()))


class InstructionTask(ResponseTask):
    """A response to each instruction, by a causal language model."""

    metrics: ClassVar = ("rougeL", "rouge1", "rouge2", "bertscore", "nll")
    language_model: ClassVar = "causal"
    decoding: ClassVar = Sampling()
    max_new_tokens: ClassVar = 256

    kind: Literal["instruction"]
    data: OwnInstructions = Field(default_factory=BuiltinDocstrings, description=DATA)
    evaluation: dict[SetName, InstructionSource] = Field(
        default_factory=dict, description=EVALUATION
    )
    template: Literal["alpaca", "none", "chat"] = Field(
        "alpaca",
        description="how an instruction becomes a prompt; none: the instruction is it; chat: by "
        "the tokenizer's chat template, by which messages are always read",
    )
    max_prompt: int = Field(
        256, gt=0, description="tokens kept of a prompt; instruction and input are truncated"
    )
    max_response: int = Field(
        256, gt=0, description="tokens kept of a training response, its end included"
    )
    packing: bool = later_field(
        False,
        description="training batches hold several examples in a row of max_prompt + max_response "
        "tokens; no example sees another",
    )


class SummarizationTask(ResponseTask):
    """A summary of each document, by an encoder–decoder."""

    metrics: ClassVar = ("rouge2", "rougeL", "rouge1", "bertscore", "nll")
    language_model: ClassVar = "seq2seq"
    decoding: ClassVar = Beam()
    max_new_tokens: ClassVar = 128

    kind: Literal["summarization"]
    data: OwnDocuments = Field(default_factory=BuiltinDocstrings, description=DATA)
    evaluation: dict[SetName, DocumentSource] = Field(default_factory=dict, description=EVALUATION)
    prefix: str = Field("", description="put before each document, as T5's `summarize: `")
    max_prompt: int = Field(1024, gt=0, description="tokens kept of a document, its end included")
    max_response: int = Field(
        128, gt=0, description="tokens kept of a training summary, its end included"
    )


Task = Annotated[
    ClassificationTask | MultilabelTask | RegressionTask | InstructionTask | SummarizationTask,
    Field(discriminator="kind"),
]

Metric = Literal[
    "accuracy",
    "f1",
    "matthews",
    "accuracy_f1",
    "micro_f1",
    "macro_f1",
    "subset_accuracy",
    "hamming_loss",
    "average_precision",
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

TASK_KINDS: dict[str, type[TaskKind]] = {
    "classification": ClassificationTask,
    "multilabel": MultilabelTask,
    "regression": RegressionTask,
    "instruction": InstructionTask,
    "summarization": SummarizationTask,
}
"""Every task by its name in a spec."""


def regresses(task: str) -> bool:
    """Whether the models of a task output a number."""
    return issubclass(TASK_KINDS[task], RegressionTask)


def has_classes(task: str) -> bool:
    """Whether the models of a task output a logit for each class."""
    return issubclass(TASK_KINDS[task], ClassificationTask | MultilabelTask)


def multilabel(task: str) -> bool:
    """Whether the examples of a task have any number of classes."""
    return issubclass(TASK_KINDS[task], MultilabelTask)


def is_lower_better(metric: str) -> bool:
    """Whether lower values of a metric are better, in any task."""
    return any(metric in task.lower_is_better for task in TASK_KINDS.values())
