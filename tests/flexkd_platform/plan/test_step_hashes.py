"""Step hashes name artifacts that people keep: no change of the code may change one by accident.

`golden/step_hashes.json` was written by `python -m pytest --write-golden` before identities were
typed. A hash changes only with the code version of its kind, and then this file is written anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.plan import FactsOf, Plan
from flexkd_platform.search import build_plan
from flexkd_platform.spec import JobSpec, load_spec, sha256_of, spec_with

GOLDEN = Path(__file__).with_name("golden") / "step_hashes.json"
JOBS_FOLDER = Path(__file__).parents[3] / "jobs"
JOBS = sorted(path.relative_to(JOBS_FOLDER).as_posix() for path in JOBS_FOLDER.rglob("*.yaml"))

TEXT = {"kind": "classification", "data": {"source": "files", "path": "reviews.jsonl"}}
WRITES = {"kind": "instruction", "data": {"source": "builtin"}}
SUMMARIES = {"kind": "summarization", "data": {"source": "builtin"}}

VARIANTS: dict[str, dict[str, Any]] = {
    "regression": {"task": {**TEXT, "kind": "regression"}, "evaluate": {"metrics": ["pearson"]}},
    "evaluation sets": {
        "task": {**TEXT, "evaluation": {"more": {"source": "files", "path": "more.csv"}}}
    },
    "no fine-tuning": {"teacher.finetune": None},
    "bf16": {"distill": {"precision": "bf16"}},
    "live teacher": {"distill": {"teacher_cache": "off"}},
    "finetuned cut": {
        "student.init": {"kind": "sliced", "layers": 2, "hidden_size": 16, "weights": "finetuned"}
    },
    "aligned": {"student.init": {"kind": "aligned", "layers": 2, "hidden_size": 16}},
    "random": {"student.init": {"kind": "random", "layers": 2, "hidden_size": 16}},
    "pretrained": {"student.init": {"kind": "pretrained", "model": "some/student"}},
    "warm-up": {"student.warm_up": {"epochs": 2}},
    "activation": {"score": {"kind": "activation"}},
    "integrated gradients": {"score": {"kind": "integrated_gradients", "steps": 4}},
    "random score": {"score": {"kind": "random", "seed": 3}},
    "some samples": {"score": {"samples": 10, "chunk": 8, "layer": 2, "geometry": False}},
    "reselected": {"score": {"aggregation": "batch", "every": 3}},
    "settings of methods": {
        "sweep.methods": [
            {"kind": "flexkd", "target": "directions"},
            {"kind": "flexkd", "pairing": "index", "reduction": "mean", "beta": 0.5},
            {"kind": "flexkd", "loss": "mse", "logit": {"kind": "jsd", "beta": 0.2}, "beta": 1},
            {"kind": "flexkd", "alpha": 0, "beta": 1},
            {"kind": "projector", "loss": "correlation", "layers": "every"},
            {"kind": "cka", "form": "kornblith", "layers": {"0": 2, "-1": "last"}},
            {"kind": "kd", "temperature": 2, "top_k": 4},
            {"kind": "jsd", "beta": 0.1},
        ]
    },
    "sorted probabilities": {
        "sweep.methods": [
            {"kind": "uld", "temperature": 2},
            {"kind": "cka", "beta": 1, "logit": {"kind": "uld"}},
        ]
    },
    "text": {"task": WRITES, "evaluate": {"metrics": ["rougeL", "nll"]}},
    "text of the teacher": {
        "task": WRITES,
        "sweep.methods": [
            {"kind": "seqkd"},
            {"kind": "seqkd", "decoding": "beam"},
            {"kind": "seqkd", "decoding": "sample", "seed": 3},
            {"kind": "minillm", "on_policy": {"share": 0.5, "teacher_mix": 0.2}},
        ],
    },
    "two stacks": {
        "task": SUMMARIES,
        "student.init": {"kind": "aligned", "layers": 2, "hidden_size": 16},
        "evaluate": {"metrics": ["rouge2", "bertscore"], "decoding": {"kind": "beam", "beams": 3}},
    },
    "teacher of a config": {
        "teacher.model": {"config": {"model_type": "bert"}, "vocab_size": 400},
    },
    "axes": {
        "sweep.axes": {
            "distill.learning_rate": [1e-4, 3e-4],
            "score.kind": ["gradient", "activation"],
        }
    },
}
"""Changes to a small spec: every branch of an identity that no job file takes."""

LATER = {"uld"}
"""Methods that were added after the file was written; variants that name none leave them out."""


def summary(plan: Plan) -> dict[str, Any]:
    """All hashes of a plan, and a digest of what describes each trial to people, shortened."""
    trials = []
    for trial in plan.trials:
        described = sha256_of([trial.method, dict(trial.params), dict(trial.settings)])
        hashes = (trial.distill.hash, trial.evaluate.hash, described)
        trials.append(" ".join(each[:16] for each in hashes))
    shared = [f"{step.kind} {step.hash[:16]}" for step in plan.shared]
    return {"shared": shared, "distill evaluate described": trials}


@pytest.fixture(scope="module")
def golden(pytestconfig: pytest.Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    return found


def compare(pytestconfig: pytest.Config, golden: dict[str, Any], name: str, plan: Plan) -> None:
    found = summary(plan)
    if pytestconfig.getoption("--write-golden"):
        golden[name] = found
        GOLDEN.write_text(json.dumps(dict(sorted(golden.items())), indent=1) + "\n")
    assert found == golden[name]


def test_every_job_has_golden_hashes(golden: dict[str, Any]) -> None:
    assert "quickstart.yaml" in JOBS
    assert set(golden) >= set(JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_hashes_of_a_job(
    job: str, facts_of: FactsOf, golden: dict[str, Any], pytestconfig: pytest.Config
) -> None:
    compare(pytestconfig, golden, job, build_plan(load_spec(JOBS_FOLDER / job), facts_of))


@pytest.mark.parametrize("name", VARIANTS)
def test_hashes_of_a_variant(
    name: str,
    spec: JobSpec,
    facts_of: FactsOf,
    golden: dict[str, Any],
    pytestconfig: pytest.Config,
) -> None:
    methods = [method.to_json() for method in spec.sweep.methods if method.kind not in LATER]
    changed = spec_with(spec, {"sweep.methods": methods} | VARIANTS[name])
    compare(pytestconfig, golden, name, build_plan(changed, facts_of))
