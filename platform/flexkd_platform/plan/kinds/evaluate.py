"""The evaluate step: a model's predictions and metrics on a split and on other sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ...spec import Decoding, JobSpec, ResponseTask
from ..facts import Facts
from ..reading import Reading
from ..step import Step, StepConfig
from ..step_kind import StepKind, metrics_line
from ._student import TrainingConfig
from .dataset import DatasetConfig, set_step
from .teacher import TeacherConfig

KIND = StepKind("evaluate", 2, "evaluation", "task", metrics_line)

Model = Step[TeacherConfig] | Step[TrainingConfig]


@dataclass(frozen=True)
class GenerationConfig:
    """How a model generates its responses.

    protocol: `minillm` reproduces that code's settings.
    """

    decoding: Decoding
    max_new_tokens: int
    protocol: Literal["clean", "minillm"]

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {
            "decoding": self.decoding.to_json(),
            "max_new_tokens": self.max_new_tokens,
            "protocol": self.protocol,
        }


@dataclass(frozen=True)
class BertScoreConfig:
    """The encoder that BERTScore compares words with.

    source: where a worker loads it from.
    """

    fingerprint: str
    source: str


@dataclass(frozen=True)
class EvaluateConfig(StepConfig):
    """The evaluation of a teacher or a student.

    split: of the model's own data; `sets` are evaluated in addition.
    generation: None for a task with labels.
    bertscore: None unless it is among the metrics.
    rouge_tokenizer: as in the spec.
    word_rules: what `auto` chooses for each set or split that is not read as `words`; empty without
        a ROUGE metric.
    """

    kind: ClassVar = KIND
    metrics: tuple[str, ...]
    split: Literal["validation", "test"]
    model: Model
    sets: tuple[Step[DatasetConfig], ...] = ()
    generation: GenerationConfig | None = None
    bertscore: BertScoreConfig | None = None
    rouge_tokenizer: Literal["auto", "words", "unicode"] = "words"
    word_rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def reading(self) -> Reading:
        """How the model reads examples."""
        return self.model.config.reading

    @property
    def dataset(self) -> Step[DatasetConfig]:
        """The model's own data."""
        return self.model.config.dataset

    def to_identity(self) -> dict[str, Any]:
        """All settings; those of generation only where the model generates."""
        identity: dict[str, Any] = {
            "metrics": list(self.metrics),
            "split": self.split,
            "task": self.reading.task,
        }
        if self.generation is not None:
            identity |= self.generation.to_identity()
        if self.bertscore is not None:
            identity["bertscore"] = self.bertscore.fingerprint
        if self.rouge_tokenizer == "unicode":
            identity["rouge_tokenizer"] = "unicode"
        elif self.rouge_tokenizer == "auto" and self.word_rules:
            identity["rouge_tokenizer"] = dict(self.word_rules)
        return identity

    def needs(self) -> dict[str, Step]:
        """The model and the data. The model's role is `student`, even if it is a teacher."""
        sets = {f"set {each.config.evaluation_set}": each for each in self.sets}
        return {"student": self.model, "dataset": self.dataset, **sets}


def evaluate_step(spec: JobSpec, facts: Facts, model: Model) -> Step[EvaluateConfig]:
    """The evaluation of one of the job's models."""
    measured = {spec.evaluate.split, *spec.task.evaluation}
    rouge = any(metric.startswith("rouge") for metric in spec.metrics)
    rules = {n: rule for n, rule in facts.word_rules.items() if rouge and n in measured}
    return Step(
        EvaluateConfig(
            metrics=tuple(spec.metrics),
            split=spec.evaluate.split,
            model=model,
            sets=tuple(set_step(spec, facts, name) for name in spec.task.evaluation),
            generation=_generation(spec),
            bertscore=_bertscore(spec, facts),
            rouge_tokenizer=spec.evaluate.rouge_tokenizer if rouge else "words",
            word_rules=rules,
        )
    )


def _generation(spec: JobSpec) -> GenerationConfig | None:
    if not isinstance(spec.task, ResponseTask):
        return None
    settings = spec.evaluate
    return GenerationConfig(
        settings.decoding or spec.task.decoding,
        settings.max_new_tokens or spec.task.max_new_tokens,
        settings.protocol,
    )


def _bertscore(spec: JobSpec, facts: Facts) -> BertScoreConfig | None:
    if not isinstance(spec.task, ResponseTask) or "bertscore" not in spec.metrics:
        return None
    named = spec.evaluate.bertscore_model
    return BertScoreConfig(facts.bertscore or named, facts.bertscore_source or named)
