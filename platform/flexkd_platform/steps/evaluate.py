"""The evaluation step: a student's outputs on a split, and what they are worth."""

from __future__ import annotations

import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..models import hidden_layers, load_saved
from ..plan import Step
from ..store import Store
from ..tasks import TASKS, encode_texts
from .dataset import read_rows
from .targets import TappedModel
from .teacher import PREDICT_BATCH
from .training import check_outputs, predict
from .worker import torch_threads


def make_evaluation(step: Step, store: Store, threads: int) -> None:
    """Publish `predictions.parquet` (label and outputs by example) and the metrics."""
    started = time.perf_counter()
    student, split = step.needs["student"], step.identity["split"]
    head = TASKS[step.identity["task"]]
    rows = read_rows(store.folder(step.needs["dataset"]), split)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch_threads(threads):
        model, tokenizer = load_saved(store.folder(student) / "model")
        module = TappedModel(model, hidden_layers(model)[-1]).to(device).eval()
        data = encode_texts(tokenizer, rows.texts, student.identity["max_length"])
        logits_NC = predict(module, data, PREDICT_BATCH, device)
    check_outputs(logits_NC, split)
    found = head.metrics(logits_NC.double().numpy(), rows.labels.double().numpy())
    metrics = {f"{split}/{name}": found[name] for name in step.identity["metrics"]}
    with store.publish(step, started) as draft:
        table = pa.table({"label": rows.labels.tolist(), "outputs": logits_NC.tolist()})
        pq.write_table(table, draft.folder / "predictions.parquet")
        (draft.folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        draft.summary["metrics"] = metrics
