"""The search that tests run whole."""

from __future__ import annotations

from typing import Any

SPEC = """\
name: searched
task: {kind: classification, max_length: 12, data: {source: files, path: WORLD/reviews}}
teacher: {model: WORLD/teacher, finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}}
student: {init: {kind: sliced, layers: 1, hidden_size: 8}}
score: {chunk: 8}
distill: {epochs: 2, batch_size: 8, learning_rate: 1e-3}
sweep:
  methods:
    - {kind: ft}
    - {kind: flexkd, alpha: {log_uniform: [0.01, 1]}}
  search: SEARCH
  seeds: [10, 20]
resources: {teacher_cpus: 1}
"""

OPTUNA = "{kind: optuna, samples: 4, batch: 2}"


def ran(results: dict[str, Any], status: str = "done") -> list[str]:
    return [trial["hash"] for trial in results["trials"] if trial["status"] == status]
