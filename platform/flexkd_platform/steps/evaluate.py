"""The evaluation step: what a model puts out on a split and on other sets, and what it is worth."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter

from ..models import load_encoder, load_saved, load_tokenizer, locate, placed
from ..plan import Step
from ..spec import Decoding, Sampling
from ..store import Store
from ..tasks import bertscore, decode, decoder_start, generate, mean_rouge, rouge
from ..training.encoding import GENERATION, encode, encode_inputs
from ..training.metrics import check_outputs, label_metrics, measure, predict
from ..training.worker import local_device, torch_threads
from .dataset import read_rows
from .teacher import load_teacher

NO_REPEAT_NGRAM = {"clean": 0, "minillm": 6}
"""n-grams that a generation may not repeat, by protocol."""


def make_evaluation(
    step: Step, store: Store, threads: int, *, spread_teacher: bool = False
) -> None:
    """Publish the predictions of each set and the metrics, as `test/accuracy` or `dolly/rougeL`.

    `predictions.parquet` holds label and outputs by example, or of text the prediction of every
    seed with its references; that of another set is `predictions-NAME.parquet`.
    """
    started = time.perf_counter()
    identity, student = step.identity, step.needs["student"]
    device = torch.device(local_device())
    sets: dict[str, tuple[Path, str]] = {
        identity["split"]: (store.folder(step.needs["dataset"]), identity["split"])
    }
    for role, needed in step.needs.items():
        if role.startswith("set "):
            sets[role.removeprefix("set ")] = (store.folder(needed), "test")
    with torch_threads(threads):
        if student.kind == "teacher":
            model, tokenizer = load_teacher(student, store)
            model = placed(model, device, spread_teacher)
        else:
            model, tokenizer = load_saved(store.folder(student) / "model")
            model = model.to(device)
        how = {**identity, **step.run}
        subject = _Subject(model.eval(), tokenizer, student.identity, how, device)
        measured = {
            name: subject.on(read_rows(folder, split), name)
            for name, (folder, split) in sets.items()
        }
    metrics = {
        f"{name}/{metric}": found[metric]
        for name, (found, _) in measured.items()
        for metric in identity["metrics"]
    }
    with store.publish(step, started) as draft:
        for name, (_, predictions) in measured.items():
            suffix = "" if name == identity["split"] else f"-{name}"
            pq.write_table(predictions, draft.folder / f"predictions{suffix}.parquet")
        (draft.folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        draft.summary["metrics"] = metrics


@dataclass(frozen=True, eq=False)
class _Subject:
    """The model that is measured, how it reads, and how it is measured.

    how: identity of the step, and where the model of BERTScore lies.
    """

    model: Any
    tokenizer: Any
    reading: Mapping[str, Any]
    how: Mapping[str, Any]
    device: torch.device

    def on(self, table: pa.Table, name: str) -> tuple[dict[str, float], pa.Table]:
        """Metrics and predictions on one set."""
        examples = encode(
            table, self.tokenizer, self.reading, decoder_start_id=decoder_start(self.model)
        )
        task = self.reading["task"]
        if task not in GENERATION:
            logits_NC = predict(self.model, examples, self.device)
            check_outputs(logits_NC, name)
            labels_N = examples.batch(range(len(examples))).labels_N
            found = label_metrics(task, logits_NC, labels_N)
            outputs = {"label": labels_N.tolist(), "outputs": logits_NC.tolist()}
            return found, pa.table(outputs)
        metrics: dict[str, float] = {}
        if "nll" in self.how["metrics"]:
            metrics |= measure(self.model, examples, task, name, self.device)
        written = self._written(table)
        references = table["references"].to_pylist()
        by_seed = [self._text_metrics(texts, references) for texts in written.values()]
        metrics |= {
            metric: sum(one[metric] for one in by_seed) / len(by_seed) for metric in by_seed[0]
        }
        columns = {
            "seed": [seed for seed in written for _ in range(len(table))],
            "example": list(range(len(table))) * len(written),
            "prediction": [text for texts in written.values() for text in texts],
            "references": references * len(written),
        }
        return metrics, pa.table(columns)

    def _written(self, table: pa.Table) -> dict[int, list[str]]:
        """What the model writes to every prompt, by seed; one seed, 0, where nothing is drawn."""
        decoding: Decoding = TypeAdapter(Decoding).validate_python(
            json.loads(json.dumps(self.how["decoding"])), strict=False
        )
        protocol = self.how["protocol"]
        prompts = encode_inputs(table, self.tokenizer, self.reading, protocol)
        seeds = decoding.seeds if isinstance(decoding, Sampling) else (0,)
        return {
            seed: decode(
                self.tokenizer,
                generate(
                    self.model,
                    prompts,
                    decoding=decoding,
                    max_new_tokens=self.how["max_new_tokens"],
                    seed=seed,
                    pad_id=self.tokenizer.pad_token_id,
                    eos_id=self.tokenizer.eos_token_id,
                    no_repeat_ngram=NO_REPEAT_NGRAM[protocol],
                    device=self.device,
                ),
            )
            for seed in seeds
        }

    @cached_property
    def _encoder(self) -> tuple[Any, Any]:
        """The model of BERTScore and its tokenizer, loaded once for all sets and seeds."""
        source = locate(self.how["bertscore_model"], None)
        return load_encoder(source).to(self.device), load_tokenizer(source)

    def _text_metrics(self, texts: list[str], references: list[list[str]]) -> dict[str, float]:
        metrics = dict(mean_rouge(rouge(texts, references)))
        if "bertscore" in self.how["metrics"]:
            model, tokenizer = self._encoder
            scores = bertscore(
                texts, references, model=model, tokenizer=tokenizer, device=self.device
            )
            metrics["bertscore"] = sum(scores) / max(len(scores), 1)
        return metrics
