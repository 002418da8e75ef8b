"""Every verified architecture in every role: from a checkpoint to a measured student.

The table of docs/models.md is made from the cases that run here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from flexkd_platform.artifacts import read_log, read_rows
from flexkd_platform.model_info import FAMILIES
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models.base_tokenizer import train_tokenizer
from flexkd_platform.models.saving import load_saved
from flexkd_platform.plan import Trial
from flexkd_platform.spec import canonical_json
from flexkd_platform.steps import run_step
from flexkd_platform.store import open_store

from ..architectures import CASES, SIZES, VARIANTS, kind_of, table
from ..lab import Lab
from ..worlds import GENERATION, MAX_LENGTH, WORDS, job, write_examples
from .test_every_architecture import plain_nll

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "models.md"

INITS: dict[str, dict[str, Any]] = {
    "sliced": {"kind": "sliced", "layers": 2, "hidden_size": 8, "weights": "finetuned"},
    "aligned": {"kind": "aligned", "layers": 2, "hidden_size": 8},
    "random": {"kind": "random", "layers": 2, "hidden_size": 8},
}


def save_model(variant: str, folder: Path, *, language_model: bool) -> None:
    """A random model of the architecture, and a tokenizer of the words of all examples."""
    kind = kind_of(variant)
    sizes, family = {**SIZES[kind], **VARIANTS[variant]}, FAMILIES[kind]
    tokenizer = train_tokenizer(WORDS, 400, kind, 32)
    special = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in TOKENS}
    if family.encoder_decoder:
        special["decoder_start_token_id"] = tokenizer.pad_token_id
    config = AutoConfig.for_model(kind, **sizes, vocab_size=len(tokenizer), **special)
    auto = AutoModel
    if language_model:
        auto = AutoModelForSeq2SeqLM if family.encoder_decoder else AutoModelForCausalLM
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(0)
        model = auto.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


TOKENS = ("pad", "bos", "eos", "cls", "sep")


@pytest.fixture(scope="module")
def lab_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Lab]:
    """`lab_of(architecture, task)`: a lab with a checkpoint of it; one for all roles."""
    made: dict[tuple[str, str], Lab] = {}

    def of(kind: str, task: str) -> Lab:
        if (kind, task) not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-{task}")
            write_examples(folder / "reviews", task)
            save_model(kind, folder / "teacher", language_model=task in GENERATION)
            spec = yaml.safe_load(job("gpt2", task).format(data="DATA"))
            spec["teacher"]["model"] = "TEACHER"
            spec["teacher"]["finetune"]["epochs"] = spec["distill"]["epochs"] = 1
            text = json.dumps(spec).replace("{", "{{").replace("}", "}}")
            text = text.replace("DATA", "{data}").replace("TEACHER", "{teacher}")
            made[kind, task] = Lab(folder, open_store(str(folder / "storage")), text)
        return made[kind, task]

    return of


def planned(lab: Lab, role: str) -> Trial:
    """The one trial of a role, what it needs being there.

    A teacher is scored at its last layer, and a pretrained student's teacher at a middle one.
    """
    method = "{kind: kd}" if role == "teacher" else "{kind: flexkd, beta: 0.5}"
    init = INITS.get("sliced" if role == "teacher" else role)
    if role == "teacher" and "albert" in str(lab.folder):
        init = INITS["random"]
    if init is None:
        init = {"kind": "pretrained", "model": str(lab.folder / "teacher")}
    layer = 1 if role == "pretrained" else "last"
    return lab.trial(method, f"student.init={canonical_json(init)}", f"score.layer={layer}")


MEAN = [("modernbert mean", "classification", role) for role in ("pretrained", "aligned")]
"""Heads that average over the tokens; in both roles there is a teacher with such a head."""


@pytest.mark.parametrize(("kind", "task", "role"), [*CASES, *MEAN])
def test_an_architecture_in_a_role(
    lab_of: Callable[[str, str], Lab], kind: str, task: str, role: str
) -> None:
    lab = lab_of(kind, task)
    trial = planned(lab, role)
    folder = lab.run(trial)
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["model_type"] == kind_of(kind)
    for entry in read_log(trial.distill, lab.store):
        assert all(math.isfinite(value) for value in entry.values.values())
    if not lab.store.has(trial.evaluate):
        list(run_step(trial.evaluate, lab.store, 1))
    as_transformers_has_it(lab, trial, folder / "model", task)


def as_transformers_has_it(lab: Lab, trial: Trial, folder: Path, task: str) -> None:
    """What was measured on a student is what transformers measures, one example at a time."""
    model, tokenizer = load_saved(folder)
    table = read_rows(lab.store.folder(trial.evaluate.needs["dataset"]), "test")
    metrics = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert metrics
    assert all(math.isfinite(value) for value in metrics.values())
    if task in GENERATION:
        assert metrics["test/nll"] == pytest.approx(plain_nll(model, tokenizer, table), rel=1e-5)
        return
    kept = pq.read_table(lab.store.folder(trial.evaluate) / "predictions.parquet")
    for text, outputs in zip(table["text"].to_pylist(), kept["outputs"].to_pylist(), strict=True):
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_LENGTH)
        with torch.no_grad():
            alone_C = model(**batch).logits[0].numpy()
        np.testing.assert_allclose(outputs, alone_C, rtol=1e-4, atol=1e-5)


def test_the_page_has_the_table_of_these_cases() -> None:
    """Print the table anew: python -c 'from tests.flexkd_platform import architectures as a;
    print(a.table())'.
    """
    assert table() in PAGE.read_text(encoding="utf-8")
