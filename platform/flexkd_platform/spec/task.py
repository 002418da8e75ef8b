"""What is learned: the task and where its examples come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Section

Rows = Annotated[int, Field(gt=0)]


class SplitSizes(Section):
    """How many examples of each split are used; all of them when left out.

    A subset is drawn with `subset_seed`, the same one on every machine.
    """

    train: Rows | None = Field(None, description="training examples")
    validation: Rows | None = Field(None, description="validation examples")
    test: Rows | None = Field(None, description="test examples")
    subset_seed: int = Field(0, ge=0, description="seed of the draw of subsets and of made splits")


class BuiltinData(SplitSizes):
    """A data set that travels with the package."""

    source: Literal["builtin"] = "builtin"
    name: Literal["movie-reviews"] = Field(
        "movie-reviews", description="10,605 human-rated movie-review snippets (MIT)"
    )


class HubData(SplitSizes):
    """A data set of the Hugging Face hub, by name."""

    source: Literal["hub"]
    name: str = Field(description="name on the hub, as `glue`")
    config: str | None = Field(None, description="configuration of the data set, as `sst2`")
    revision: str | None = Field(None, description="commit, tag or branch; newest when left out")
    text: str = Field("text", description="column that holds the text")
    label: str = Field("label", description="column that holds the label")
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of train made the validation split if there is none"
    )
    test_share: float = Field(
        0.1, gt=0, lt=1, description="share of train made the test split if there is none"
    )


class FilesData(SplitSizes):
    """Parquet, JSONL, CSV or TSV files on this machine.

    `path` is one file, or a folder that holds `train.*` and, if they exist, `validation.*` and
    `test.*`. Splits that are missing are drawn from train.
    """

    source: Literal["files"]
    path: str = Field(description="a file, or a folder with train.*, validation.*, test.*")
    text: str = Field("text", description="column that holds the text")
    label: str = Field("label", description="column that holds the label")
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of train made the validation split if there is none"
    )
    test_share: float = Field(
        0.1, gt=0, lt=1, description="share of train made the test split if there is none"
    )


DataSource = Annotated[BuiltinData | HubData | FilesData, Field(discriminator="source")]


class ClassificationTask(Section):
    """One class per text; labels are whole numbers from 0."""

    kind: Literal["classification"] = "classification"
    data: DataSource = Field(default_factory=BuiltinData)
    max_length: int = Field(64, gt=1, description="tokens kept of a text, special tokens included")
    classes: int | None = Field(
        None, ge=2, description="classes of the head; the largest label + 1 when left out"
    )


class RegressionTask(Section):
    """One number per text."""

    kind: Literal["regression"]
    data: DataSource = Field(default_factory=BuiltinData)
    max_length: int = Field(64, gt=1, description="tokens kept of a text, special tokens included")


Task = Annotated[ClassificationTask | RegressionTask, Field(discriminator="kind")]

Metric = Literal["accuracy", "f1", "matthews", "pearson", "spearman", "mse"]

METRICS: dict[str, tuple[Metric, ...]] = {
    "classification": ("accuracy", "f1", "matthews"),
    "regression": ("pearson", "spearman", "mse"),
}
"""Which metrics each task can report; the first one ranks."""


class Evaluate(Section):
    """What is measured on each student, and on which split."""

    metrics: tuple[Metric, ...] = Field(
        (), description="metrics of the task, the first one ranks; all of the task's when empty"
    )
    split: Literal["validation", "test"] = Field("test", description="the split they are taken on")

    @model_validator(mode="after")
    def _no_metric_twice(self) -> Evaluate:
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("a metric is named twice; name each one once")
        return self
