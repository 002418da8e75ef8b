"""Publishes a model's predictions and metrics on a split and on other sets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..artifacts import COST, Artifacts, LabelUnit, multi_hot, read_rows
from ..data import WordRule, shown_rules, word_rules
from ..model_info import locate
from ..models import label_unit, load_encoder, load_saved, load_tokenizer, placed
from ..plan import (
    EvaluateConfig,
    GenerationConfig,
    LabelReading,
    ResponseReading,
    TeacherConfig,
    has_config,
)
from ..spec import ResponseTask, Sampling
from ..tasks import (
    Examples,
    bertscore,
    decode,
    decoder_start,
    generate,
    mean_rouge,
    probability_of,
    rouge,
)
from ..tracking import Progress
from ..training.cost import measure_cost
from ..training.encoding import encode, encode_inputs, end_of_response
from ..training.lengths import lengths_json
from ..training.metrics import (
    check_outputs,
    compute_metrics,
    label_metrics,
    multilabel_cut,
    predict,
)
from ..training.worker import torch_threads
from .context import Output, RunContext
from .teacher_model import load_teacher

NO_REPEAT_NGRAM = {"clean": 0, "minillm": 6}
"""Size of the n-grams that a generated text must not repeat, by protocol; 0: no limit."""

PREDICTIONS = pa.schema(
    [
        ("seed", pa.int64()),
        ("example", pa.int64()),
        ("prediction", pa.string()),
        ("references", pa.list_(pa.string())),
    ]
)
"""Of generated texts; followed by the scores of each text, by metric."""

Evaluated = tuple[dict[str, float], pa.Table]
"""Metrics and predictions on one set."""


def run(
    config: EvaluateConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish the predictions of each set and the metrics (`test/accuracy`, `dolly/rougeL`).

    `predictions.parquet` has the label and outputs of each example; for text, the prediction of
    each seed with its references and scores, without rows if no metric needs generated text. The
    file of another set is `predictions-NAME.parquet`. The summary also has what the model costs to
    use, see `ModelCost`: measured, and so in no file.
    """
    started = time.perf_counter()
    with torch_threads(context.threads):
        model = _load(config, inputs, context)
        evaluated = {
            name: model.on(read_rows(folder, split), name)
            for name, (folder, split) in _sets(config, inputs).items()
        }
    metrics = {
        f"{name}/{metric}": found[metric]
        for name, (found, _) in evaluated.items()
        for metric in config.metrics
    }
    with out.publish(started) as draft:
        for name, (_, predictions) in evaluated.items():
            suffix = "" if name == config.split else f"-{name}"
            pq.write_table(predictions, draft.folder / f"predictions{suffix}.parquet")
        draft.summary["lengths"] = model.lengths
        if model.cost:
            draft.summary[COST] = model.cost
        if model.word_rules:
            draft.summary["rouge_tokenizer"] = {
                name: shown_rules(rules) for name, rules in model.word_rules.items()
            }
        if isinstance(config.reading, LabelReading) and config.reading.threshold == "validation":
            draft.summary["threshold"] = probability_of(model.cut)
        (draft.folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        draft.summary["metrics"] = metrics
    return iter(())


def _sets(config: EvaluateConfig, inputs: Artifacts) -> dict[str, tuple[Path, str]]:
    """The folder and the split of every evaluated set, by name."""
    sets: dict[str, tuple[Path, str]] = {
        config.split: (inputs.folder(config.dataset), config.split)
    }
    for each in config.sets:
        assert each.config.evaluation_set is not None
        sets[each.config.evaluation_set] = (inputs.folder(each), "test")
    return sets


def _load(config: EvaluateConfig, inputs: Artifacts, context: RunContext) -> _Model:
    device = context.worker.device
    if has_config(config.model, TeacherConfig):
        model, tokenizer = load_teacher(config.model, inputs)
        model = placed(model, device, context.spread_teacher)
    else:
        model, tokenizer = load_saved(inputs.folder(config.model) / "model")
        model = model.to(device)
    dataset = inputs.folder(config.dataset)
    return _Model(model.eval(), tokenizer, config, device, lambda: read_rows(dataset, "validation"))


@dataclass(frozen=True, eq=False)
class _Model:
    """The model to evaluate.

    validation: reads the validation split.
    word_rules: by set, the rule by which ROUGE reads each of its examples; filled as sets are
        evaluated, as is `lengths`, how many texts of each set are truncated.
    cost: what the model costs to use, filled with the split; empty for a split without rows.
    """

    model: Any
    tokenizer: Any
    config: EvaluateConfig
    device: torch.device
    validation: Callable[[], pa.Table]
    word_rules: dict[str, list[WordRule]] = field(default_factory=dict)
    lengths: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)

    def on(self, table: pa.Table, name: str) -> Evaluated:
        """Metrics and predictions on one set."""
        reading, examples = self.config.reading, self._encoded(table)
        self.lengths[name] = lengths_json(examples)
        if name == self.config.split and len(examples):
            self.cost.update(asdict(measure_cost(self.model, examples, self.device)))
        if isinstance(reading, LabelReading):
            return self._on_labels(table, examples, name)
        assert self.config.generation is not None, "a language model generates"
        return self._on_texts(table, examples, name, reading, self.config.generation)

    def _encoded(self, table: pa.Table) -> Examples:
        return encode(
            table,
            self.tokenizer,
            self.config.reading,
            decoder_start_id=decoder_start(self.model),
            unit=label_unit(self.model),
        )

    def _on_labels(self, table: pa.Table, examples: Examples, name: str) -> Evaluated:
        logits_NC = predict(self.model, examples, self.device)
        check_outputs(logits_NC, name)
        unit = label_unit(self.model) or LabelUnit()
        outputs_NC = unit.restored(logits_NC.numpy())
        reading, label = self.config.reading, table["label"]
        labels_N = multi_hot(label, reading.outputs) if reading.multilabel else label.to_numpy()
        found = label_metrics(reading.task, outputs_NC - self.cut, labels_N.astype(np.float64))
        return found, pa.table({"label": label, "outputs": outputs_NC.tolist()})

    @cached_property
    def cut(self) -> float:
        """See `multilabel_cut`."""
        return multilabel_cut(
            self.config.reading, self.model, lambda: self._encoded(self.validation()), self.device
        )

    def _on_texts(
        self,
        table: pa.Table,
        examples: Examples,
        name: str,
        reading: ResponseReading,
        settings: GenerationConfig,
    ) -> Evaluated:
        metrics: dict[str, float] = {}
        if "nll" in self.config.metrics:
            metrics |= compute_metrics(self.model, examples, reading.task, name, self.device)
        assert issubclass(reading.kind, ResponseTask), "its reading is that of responses"
        writes = reading.kind.writes_for(self.config.metrics)
        written = self._generated(table, reading, settings) if writes else {}
        references = table["references"].to_pylist()
        if writes:
            self._choose_words(name, references)
        scores = [self._text_scores(name, texts, references) for texts in written.values()]
        by_seed = [_means(one) for one in scores]
        metrics |= {
            metric: sum(one[metric] for one in by_seed) / len(by_seed)
            for metric in (by_seed[0] if by_seed else ())
        }
        columns = {
            "seed": [seed for seed in written for _ in range(len(table))],
            "example": list(range(len(table))) * len(written),
            "prediction": [text for texts in written.values() for text in texts],
            "references": references * len(written),
        }
        predictions = pa.table(columns, schema=PREDICTIONS)
        for metric in scores[0] if scores else ():
            values = [value for one in scores for value in one[metric]]
            predictions = predictions.append_column(metric, pa.array(values, pa.float64()))
        return metrics, predictions

    def _generated(
        self, table: pa.Table, reading: ResponseReading, settings: GenerationConfig
    ) -> dict[int, list[str]]:
        """The response to every prompt, by seed; a single seed 0 if decoding does not sample."""
        decoding, protocol = settings.decoding, settings.protocol
        prompts = encode_inputs(table, self.tokenizer, reading, protocol).ids
        seeds = decoding.seeds if isinstance(decoding, Sampling) else (0,)
        return {
            seed: decode(
                self.tokenizer,
                generate(
                    self.model,
                    prompts,
                    decoding=decoding,
                    max_new_tokens=settings.max_new_tokens,
                    seed=seed,
                    pad_id=self.tokenizer.pad_token_id,
                    eos_id=end_of_response(self.tokenizer, reading),
                    no_repeat_ngram=NO_REPEAT_NGRAM[protocol],
                    device=self.device,
                ),
            )
            for seed in seeds
        }

    @cached_property
    def _encoder(self) -> tuple[Any, Any]:
        """The model of BERTScore and its tokenizer, loaded once for all sets and seeds."""
        assert self.config.bertscore is not None
        source = locate(self.config.bertscore.source, None)
        return load_encoder(source).to(self.device), load_tokenizer(source)

    def _choose_words(self, name: str, references: list[list[str]]) -> None:
        """Decide how ROUGE reads a set, if it is among the metrics."""
        if any(metric.startswith("rouge") for metric in self.config.metrics):
            chosen = self.config.rouge_tokenizer
            rules = word_rules(references) if chosen == "auto" else [chosen] * len(references)
            self.word_rules[name] = rules

    def _text_scores(
        self, name: str, texts: list[str], references: list[list[str]]
    ) -> dict[str, list[float]]:
        """The scores of each text, by metric."""
        scores: dict[str, list[float]] = {}
        if name in self.word_rules:
            scores |= rouge(texts, references, self.word_rules[name])
        if self.config.bertscore is not None:
            model, tokenizer = self._encoder
            scores["bertscore"] = bertscore(
                texts, references, model=model, tokenizer=tokenizer, device=self.device
            )
        return scores


def _means(scores: dict[str, list[float]]) -> dict[str, float]:
    """The mean of each metric over the texts."""
    of_rouge = {name: values for name, values in scores.items() if name != "bertscore"}
    metrics = mean_rouge(of_rouge) if of_rouge else {}
    if (values := scores.get("bertscore")) is not None:
        metrics["bertscore"] = sum(values) / max(len(values), 1)
    return metrics
