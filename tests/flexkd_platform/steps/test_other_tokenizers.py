"""A pretrained student whose tokenizer is not its teacher's: text by text, and token by token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flexkd_platform.artifacts import read_log, read_rows
from flexkd_platform.models import load_saved, make_base
from flexkd_platform.plan import ResponseReading
from flexkd_platform.spec import Resources
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.tasks import decoder_start
from flexkd_platform.training.alignment import AlignedSignal, align
from flexkd_platform.training.encoding import encode
from flexkd_platform.training.teacher_signal import OnlineSignal

from ..lab import Lab, train_student, training_of
from ..worlds import SIZES, WORDS

World = Callable[[str, str], Lab]
Folder = Callable[[str], Path]

CAUSAL = [
    "{kind: uld}",
    "{kind: uld, temperature: 2, lambda: 0.5}",
    "{kind: flexkd, alpha: 0.5, logit: {kind: uld}}",
    "{kind: flexkd, beta: 0, lambda: 1, pairing: matched}",
    "{kind: cka, beta: 0, lambda: 1}",
    "{kind: projector, beta: 0, lambda: 0.5, normalise: gradient}",
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """`student(architecture)`: the folder of a small model that splits words into few letters."""

    made: dict[str, Path] = {}
    spread = {"bart": "init_std"}

    def of(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = tmp_path_factory.mktemp(f"student-{architecture}")
            sizes = dict(SIZES[architecture])
            sizes |= {key: 8 for key in ("n_embd", "hidden_size", "d_model") if key in sizes}
            values = {
                "model_type": architecture,
                spread.get(architecture, "initializer_range"): 0.3,
            }
            texts, writes = [" ".join(WORDS[:4])], architecture != "bert"
            folder = made[architecture]
            make_base(values | sizes, 270, texts, 1, folder, language_model=writes)
        return made[architecture]

    return of


def pretrained(folder: Path) -> str:
    return f"student.init={{kind: pretrained, model: {folder}}}"


def losses(lab: Lab, trial: Any) -> list[dict[str, float]]:
    return [dict(entry.values) for entry in read_log(trial.distill, lab.store)]


# --- token by token ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CAUSAL)
def test_caches_and_a_running_teacher_give_the_same_student(
    world: World, student: Folder, method: str
) -> None:
    lab = world("gpt2", "instruction")
    found = []
    for cached in ("auto", "off"):
        trial = lab.trial(method, pretrained(student("gpt2")), f"distill.teacher_cache={cached}")
        lab.run(trial)
        found.append(losses(lab, trial))
        share = lab.store.manifest(trial.distill).summary["aligned_share"]
        assert 0.3 < share < 1
    offline, online = found
    assert [entry["train/loss"] for entry in offline] == pytest.approx(
        [entry["train/loss"] for entry in online], rel=1e-4
    )
    assert offline[0] != offline[-1]


def test_micro_batches_change_nothing(world: World, student: Folder) -> None:
    lab = world("gpt2", "instruction")
    for method in ("{kind: uld, lambda: 0.5}", "{kind: cka, logit: {kind: uld}}"):
        trial = lab.trial(method, pretrained(student("gpt2")))
        found = []
        for size in (None, 5):
            fresh = lab if lab.store.has(trial.distill) is False else lab.without(trial.distill)
            list(train_student(trial.distill, fresh.store, Resources(micro_batch=size)))
            found.append([entry["train/loss"] for entry in losses(fresh, trial)])
        assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_logit_term_is_the_mean_over_equal_prefixes(world: World, student: Folder) -> None:
    """Computed anew: positions whose decoded prefixes are equal, probabilities sorted by NumPy."""
    lab = world("gpt2", "instruction")
    trial = lab.trial("{kind: uld}", pretrained(student("gpt2")))
    lab.run(trial)
    config = trial.distill.config
    assert config.aligned is not None
    sides = [load_saved(student("gpt2")), load_teacher(config.aligned, lab.store)]
    table = read_rows(lab.store.folder(config.dataset), "train")
    gaps = []
    for row in range(table.num_rows):
        rows: list[dict[str, np.ndarray]] = []
        for model, tokenizer in sides:
            data = encode(table.slice(row, 1), tokenizer, config.reading)
            batch = data.batch([0])
            with torch.no_grad():
                logits_TV = model(**batch.inputs).logits[0][batch.targets_BT[0]]
            probabilities = -np.sort(-logits_TV.double().softmax(1).numpy(), axis=1)
            ids = batch.labels_N.tolist()
            here = {}
            for place in range(len(ids)):
                last = ids[place] == tokenizer.eos_token_id
                prefix = tokenizer.decode(ids[:place]).strip() + ("<end>" if last else "")
                here.setdefault(prefix, probabilities[place])
            rows.append(here)
        for prefix in rows[0].keys() & rows[1].keys():
            p, q = rows[0][prefix], rows[1][prefix]
            wide = np.zeros((2, max(len(p), len(q))))
            wide[0, : len(p)], wide[1, : len(q)] = p, q
            gaps.append(np.abs(wide[0] - wide[1]).sum())
    first = losses(lab, trial)[0]
    assert first["train/logit"] == pytest.approx(np.mean(gaps), rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "task"), [("gpt2", "instruction"), ("bart", "summarization")]
)
def test_one_tokenizer_is_aligned_with_itself_everywhere(
    world: World, architecture: str, task: str
) -> None:
    lab = world(architecture, task)
    trial = lab.trial("{kind: flexkd}", "student.init={kind: random, layers: 2, hidden_size: 8}")
    training = training_of(trial.distill, lab.store)
    teacher_step = trial.distill.config.teacher.caches[0].config.teacher
    model, tokenizer = load_teacher(teacher_step, lab.store)
    table = read_rows(lab.store.folder(trial.distill.config.dataset), "train")
    reading = trial.distill.config.reading
    assert isinstance(reading, ResponseReading)
    data = encode(table, tokenizer, reading, decoder_start_id=decoder_start(model))
    found = align(data, data, (tokenizer, tokenizer), table, reading)
    assert found.share == 1
    layers = [term.teacher for term in training.terms]
    plain = OnlineSignal(
        model, layers, outputs=True, head=lambda h: h, examples=data, device=torch.device("cpu")
    )
    rows = [3, 0, 7]
    a, b = plain(rows, data.batch(rows)), AlignedSignal(plain, found)(rows, data.batch(rows))
    torch.testing.assert_close(a.outputs, b.outputs)
    assert b.paired_N is not None
    assert b.paired_N.all()
    for layer in layers:
        if not str(layer).startswith("encoder"):
            torch.testing.assert_close(a.features[layer], b.features[layer])
        else:  # without special tokens
            assert 0 < len(b.features[layer]) < len(a.features[layer])
            assert len(b.features[layer]) == sum(
                found.student.feature_rows(r, "encoder") for r in rows
            )
    masks = found.student.batch(rows).feature_masks
    for stack, mask_BT in masks.items():
        assert int(mask_BT.sum()) == sum(found.student.feature_rows(r, stack) for r in rows)


def test_both_stacks_of_an_encoder_decoder(world: World, student: Folder) -> None:
    lab = world("bart", "summarization")
    method = "{kind: cka, logit: {kind: uld}}"
    found = []
    for cached in ("auto", "off"):
        trial = lab.trial(method, pretrained(student("bart")), f"distill.teacher_cache={cached}")
        lab.run(trial)
        found.append([entry["train/loss"] for entry in losses(lab, trial)])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


# --- text by text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["{kind: kd}", "{kind: flexkd, beta: 0.5}", "{kind: cka}", "{kind: uld, lambda: 0.5}"]
)
def test_a_classifier_reads_each_text_with_its_own_tokenizer(
    world: World, student: Folder, method: str
) -> None:
    lab = world("bert", "classification")
    found = []
    for cached in ("auto", "off"):
        trial = lab.trial(method, pretrained(student("bert")), f"distill.teacher_cache={cached}")
        assert trial.distill.config.aligned is None
        lab.run(trial)
        found.append([entry["train/loss"] for entry in losses(lab, trial)])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_models_rows_are_those_of_the_examples_in_a_batch(world: World, student: Folder) -> None:
    """The teacher's rows of shuffled examples, against its outputs on its own encoding."""
    lab = world("bert", "classification")
    trial = lab.trial("{kind: kd}", pretrained(student("bert")))
    training = training_of(trial.distill, lab.store)
    signal = training.objective.targets
    assert signal is not None
    cache = trial.distill.config.teacher.caches[0]
    model, tokenizer = load_teacher(cache.config.teacher, lab.store)
    table = read_rows(lab.store.folder(trial.distill.config.dataset), "train")
    theirs = encode(table, tokenizer, cache.config.teacher.config.reading)
    rows = [5, 1, 9, 2]
    ours = training.data.batch(rows)
    assert ours.inputs["input_ids"].tolist() != theirs.batch(rows).inputs["input_ids"].tolist()
    with torch.no_grad():
        expected = model(**theirs.batch(rows).inputs).logits
    torch.testing.assert_close(signal(rows, ours).outputs, expected, rtol=1e-4, atol=1e-5)
