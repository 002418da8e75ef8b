"""Students of every method: what is published, that it repeats itself, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from sklearn import metrics as sk
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from flexkd_platform.artifacts import read_log, read_log_file, read_rows, write_log
from flexkd_platform.plan import LayerRef
from flexkd_platform.spec import METHODS
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.tracking import StepMetrics
from flexkd_platform.training.encoding import encode
from flexkd_platform.training.hidden_states import LOGITS, HiddenStateModel, forward
from flexkd_platform.training.objective import CORRELATION_QUANTILES
from flexkd_platform.training.teacher_signal import OfflineSignal, OnlineSignal

from ..lab import train_student

CPU = torch.device("cpu")

INITS = {
    "sliced": "{kind: sliced, layers: 2, hidden_size: 8}",
    "random": "{kind: random, layers: 1, hidden_size: 8}",
}


CLASSIFIED = ("accuracy", "f1", "matthews", "accuracy_f1")

TERMS = {
    "ft": {"supervised"},
    "kd": {"supervised", "logit"},
    **{method: {"logit"} for method in ("minillm", "jsd", "skew_fkl", "skew_rkl", "tvd", "uld")},
    "projector": {"supervised", "feature"},
    **{method: {"supervised", "feature", "skipped"} for method in ("cka", "procrustes", "gram")},
    "flexkd": {"supervised", "feature", "feature_mean", "skipped", *CORRELATION_QUANTILES},
}


def losses(lab: Any, trial: Any) -> list[float]:
    return [entry.values["train/loss"] for entry in read_log(trial.distill, lab.store)]


# --- what is published -------------------------------------------------------------------------


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("method", [name for name in METHODS if name != "seqkd"])
def test_every_method_trains_every_kind_of_student(lab: Any, method: str, init: str) -> None:
    trial = lab.trial(f"{{kind: {method}}}", f"student.init={INITS[init]}")
    folder, manifest = lab.run(trial), lab.store.manifest(trial.distill)

    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    assert model.config.hidden_size == 8
    assert model.config.num_hidden_layers == {"sliced": 2, "random": 1}[init]
    assert model.config.num_labels == 2
    assert manifest.summary["parameters"] == sum(p.numel() for p in model.parameters())

    # The projector was trained with the student, and is no part of it.
    assert not [n for n in load_file(folder / "model" / "model.safetensors") if "proj" in n]
    assert (folder / "projector.safetensors").is_file() == (method == "projector")

    log = read_log(trial.distill, lab.store)
    assert [entry.step for entry in log] == list(range(1, 9))
    assert manifest.summary["steps"] == 8
    measures = ("loss", "learning_rate", "grad_norm", "clipped", *TERMS[method])
    always = {f"train/{name}" for name in measures}
    measured = {f"validation/{name}" for name in CLASSIFIED}
    for entry in log:
        at_the_end_of_an_epoch = entry.step in (4, 8)
        assert set(entry.values) == always | (measured if at_the_end_of_an_epoch else set())
    clipped = [entry.values["train/grad_norm"] > 1.0 for entry in log]
    assert manifest.summary["clipped_share"] == sum(clipped) / 8
    last = log[-1].values
    # 26 examples in batches of 8 leave two for the last batch of an epoch.
    skipped = sum(entry.values.get("train/skipped", 0.0) for entry in log)
    assert skipped == (2 if "train/skipped" in last else 0)
    assert manifest.summary["metrics"] == {
        **{name: last[name] for name in ("train/loss", *sorted(measured))},
        **({"train/skipped_batches": skipped} if skipped else {}),
    }


def test_a_projector_maps_the_student_to_the_teacher(lab: Any) -> None:
    trial = lab.trial("{kind: projector}")
    weights = load_file(lab.run(trial) / "projector.safetensors")
    assert {name: tuple(w.shape) for name, w in weights.items()} == {"0.weight": (16, 8)}
    generator = torch.Generator().manual_seed(trial.seed)
    start = torch.empty(16, 8).uniform_(-(8**-0.5), 8**-0.5, generator=generator)
    assert not torch.equal(weights["0.weight"], start)
    torch.testing.assert_close(weights["0.weight"], start, atol=0.02, rtol=0)  # 8 steps of 1e-3


def test_a_projector_without_weight_is_none(lab: Any) -> None:
    trial = lab.trial("{kind: projector, alpha: 0, beta: 0.5}")
    assert not (lab.run(trial) / "projector.safetensors").exists()


def test_what_a_student_learns_from_changes_it(lab: Any) -> None:
    trials = {
        text: lab.trial(f"{{{text}}}")
        for text in (
            "kind: ft",
            "kind: kd",
            "kind: flexkd",
            "kind: flexkd, pairing: index",
            "kind: flexkd, alpha: 0.1",
            "kind: cka",
        )
    }
    weights = {
        text: (lab.run(trial) / "model" / "model.safetensors").read_bytes()
        for text, trial in trials.items()
    }
    assert len(set(weights.values())) == len(weights)


def test_a_pretrained_student_reads_with_its_own_words(lab: Any) -> None:
    init = f"student.init={{kind: pretrained, model: {lab.folder / 'own'}}}"
    trial = lab.trial("{kind: flexkd, beta: 0.5}", init)
    folder = lab.run(trial) / "model"
    own, teachers = (AutoTokenizer.from_pretrained(lab.folder / n) for n in ("own", "teacher"))
    text = "once fine film"
    assert AutoTokenizer.from_pretrained(folder)(text).input_ids == own(text).input_ids
    assert own(text).input_ids != teachers(text).input_ids
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.hidden_size == 12


# --- repetition --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["{kind: ft}", "{kind: projector, beta: 1}"])
def test_a_seed_gives_the_same_student_to_the_last_bit(
    fresh: Callable[[], Any], method: str
) -> None:
    made = []
    for noise in (1, 2):
        lab = fresh()
        torch.manual_seed(noise)
        trial = lab.trial(method, "distill.dropout=0.1", "distill.epochs=1")
        folder = lab.run(trial)
        made.append(
            {
                str(p.relative_to(folder)): p.read_bytes()
                for p in sorted(folder.rglob("*"))
                if p.is_file() and p.name != "manifest.json"
            }
        )
    assert len(made[0]) >= 4
    assert made[0] == made[1]
    other = lab.trial(method, "distill.dropout=0.1", "distill.epochs=1", "sweep.seeds=[11]")
    lab.run(other)
    assert losses(lab, other) != losses(lab, trial)


def test_training_leaves_the_callers_randomness_and_threads(lab: Any) -> None:
    trial = lab.trial("{kind: ft}", "sweep.seeds=[77]", "distill.dropout=0.1")
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    lab.run(trial)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_training_that_is_broken_off_publishes_nothing(fresh: Callable[[], Any]) -> None:
    lab = fresh()
    trial = lab.trial("{kind: kd}")
    training: Any = train_student(trial.distill, lab.store)
    for _ in range(5):
        next(training)
    training.close()
    assert not lab.store.has(trial.distill)
    assert list(Path(lab.store.root, "staging").iterdir()) == []


# --- the teacher, kept or asked ----------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["{kind: kd}", "{kind: projector}", "{kind: cka, beta: 1}", "{kind: flexkd}"]
)
def test_a_live_teacher_gives_the_losses_of_its_cache(lab: Any, method: str) -> None:
    cached = lab.trial(method)
    live = lab.trial(method, "distill.teacher_cache=off")
    roles = {role.partition(" ")[0] for role in cached.distill.needs}
    assert "cache" in roles
    assert "teacher" not in roles
    assert "teacher" in live.distill.needs
    assert not [role for role in live.distill.needs if role.startswith("cache")]
    for trial in (cached, live):
        lab.run(trial)
    assert losses(lab, live) == pytest.approx(losses(lab, cached), rel=1e-4)


@pytest.mark.parametrize("layer", ["last", "0"])
def test_kept_and_live_targets_are_the_same_rows(lab: Any, layer: str) -> None:
    trial = lab.trial("{kind: flexkd, beta: 1}", f"score.layer={layer}")
    place = {"last": 2, "0": 0}[layer]
    caches = {holds: trial.distill.needs[f"cache {holds}"] for holds in (place, "outputs")}
    teacher, _ = load_teacher(caches[place].needs["teacher"], lab.store)
    data = split(lab, "train")
    folders = {holds: lab.store.folder(cache) for holds, cache in caches.items()}
    kept = OfflineSignal(folders, data, CPU)
    live = OnlineSignal(teacher, [place], outputs=True, head=None, examples=None, device=CPU)
    for rows in ([0], [25, 3, 8, 3], list(range(26))):
        found, expected = (targets(rows, data.batch(rows)) for targets in (kept, live))
        assert found.outputs is not None
        assert expected.outputs is not None
        assert set(found.features) == set(expected.features) == {place}
        for one, other in (
            (found.features[place], expected.features[place]),
            (found.outputs, expected.outputs),
            (found.logits(0, len(rows)), expected.logits(0, len(rows))),
        ):
            assert one.dtype == other.dtype == torch.float32
            assert len(one) == len(rows)
            assert not other.requires_grad
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_targets_hold_what_was_asked_for_and_no_more(lab: Any) -> None:
    trial = lab.trial("{kind: flexkd}")
    assert [role for role in trial.distill.needs if role.startswith("cache")] == ["cache 2"]
    teacher, _ = load_teacher(trial.distill.needs["cache 2"].needs["teacher"], lab.store)
    data = split(lab, "train")
    live = OnlineSignal(teacher, [2], outputs=False, head=None, examples=None, device=CPU)
    folders: dict[LayerRef, Path] = {2: lab.store.folder(trial.distill.needs["cache 2"])}
    for targets in (live, OfflineSignal(folders, data, CPU)):
        rows = targets([4], data.batch([4]))
        assert rows.outputs is None
        assert rows.none().outputs is None
        assert rows.none().features[2].shape == (0, 16)
        with pytest.raises(AssertionError, match="was not asked for its outputs"):
            rows.logits(0, 1)


def test_a_cache_without_chunks_is_an_error(lab: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no chunk"):
        OfflineSignal({2: tmp_path}, split(lab, "train"), CPU)


def test_a_cache_of_other_examples_is_an_error(lab: Any) -> None:
    cache = lab.trial("{kind: flexkd}").distill.needs["cache 2"]
    with pytest.raises(ValueError, match="the teacher cache has 26 rows of 2, not 11"):
        OfflineSignal({2: lab.store.folder(cache)}, split(lab, "test"), CPU)


def split(lab: Any, name: str, **reading: Any) -> Any:
    """The examples of a split as the teacher reads them."""
    plan = lab.plan()
    lab.share(plan)
    teacher = lab.step(plan, "teacher")
    _, tokenizer = load_teacher(teacher, lab.store)
    table = read_rows(lab.store.folder(teacher.needs["dataset"]), name)
    return encode(table, tokenizer, replace(teacher.config.reading, **reading))


def test_a_tapped_model_returns_the_rows_its_head_reads(lab: Any) -> None:
    batch = split(lab, "test").batch(range(11))
    teacher, _ = load_teacher(lab.step(lab.plan(), "teacher"), lab.store)
    projectors = [torch.nn.Linear(16, 5), torch.nn.Linear(16, 7)]
    with torch.no_grad():
        extractor = HiddenStateModel(teacher, [1, 2]).eval()
        found = forward(extractor, batch, CPU)
        extractor.close()
        plain = teacher(**batch.inputs, output_hidden_states=True)
        projected = forward(
            HiddenStateModel(teacher, [1, 2], projectors=projectors).eval(), batch, CPU
        )
        silent = forward(HiddenStateModel(teacher, [1, 2], outputs=False).eval(), batch, CPU)
        for place, layer in enumerate((1, 2)):
            assert torch.equal(found[str(layer)], plain.hidden_states[layer + 1][:, 0])
            assert torch.equal(projected[str(layer)], projectors[place](found[str(layer)]))
    assert torch.equal(found[LOGITS], plain.logits)
    assert set(found) == {"1", "2", LOGITS}
    assert set(silent) == {"1", "2"}
    with pytest.raises(RuntimeError, match="no forward has run"):
        forward(extractor, batch, CPU)  # its taps are off the model


def test_texts_are_cut_at_the_limit(lab: Any) -> None:
    assert max(map(len, split(lab, "train", max_length=4).ids)) == 4
    assert max(map(len, split(lab, "train").ids)) > 4


# --- evaluation --------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "rows"), [("test", 11), ("validation", 9)])
def test_predictions_reproduce_the_metrics(lab: Any, split: str, rows: int) -> None:
    trial = lab.trial("{kind: kd}", f"evaluate.split={split}", "evaluate.metrics=[f1, accuracy]")
    student = lab.run(trial)
    table = pq.read_table(lab.store.folder(trial.evaluate) / "predictions.parquet")
    assert table.num_rows == rows
    logits_NC = np.array(table["outputs"].to_pylist())
    labels_N, predicted_N = table["label"].to_numpy(), logits_NC.argmax(axis=1)
    metrics = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert list(metrics) == sorted(metrics)
    assert metrics == pytest.approx(
        {
            f"{split}/f1": sk.f1_score(labels_N, predicted_N, zero_division=0),
            f"{split}/accuracy": sk.accuracy_score(labels_N, predicted_N),
        }
    )
    # They are the published student's, in the order of the split.
    source = read_rows(lab.store.folder(trial.evaluate.needs["dataset"]), split)
    assert labels_N.tolist() == source["label"].to_pylist()
    model = AutoModelForSequenceClassification.from_pretrained(student / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(student / "model")
    with torch.no_grad():
        for place, text in enumerate(source["text"].to_pylist()):
            batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=12)
            alone_C = model(**batch).logits[0].numpy()
            np.testing.assert_allclose(logits_NC[place], alone_C, rtol=1e-4, atol=1e-5)


def test_the_last_step_measures_the_student_that_is_published(lab: Any) -> None:
    trial = lab.trial("{kind: flexkd}", "evaluate.split=validation")
    lab.run(trial)
    logged = read_log(trial.distill, lab.store)[-1].values
    found = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert set(found) == {"validation/accuracy", "validation/f1", "validation/matthews"}
    assert {name: logged[name] for name in found} == found


# --- regression, from data to metrics ----------------------------------------------------------


@pytest.mark.parametrize("method", ["{kind: ft}", "{kind: kd}", "{kind: flexkd, beta: 0.5}"])
def test_regression_end_to_end(lab: Any, method: str) -> None:
    trial = lab.trial(method, "task.kind=regression", "distill.epochs=8", data="ratings")
    lab.run(trial)
    table = pq.read_table(lab.store.folder(trial.evaluate) / "predictions.parquet")
    outputs_N1, labels_N = np.array(table["outputs"].to_pylist()), table["label"].to_numpy()
    assert outputs_N1.shape == (11, 1)
    found = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert found == pytest.approx(
        {
            "test/pearson": stats.pearsonr(outputs_N1[:, 0], labels_N)[0],
            "test/spearman": stats.spearmanr(outputs_N1[:, 0], labels_N)[0],
            "test/mse": np.mean((outputs_N1[:, 0] - labels_N) ** 2),
        },
        abs=1e-6,
    )
    fell = losses(lab, trial)
    assert sum(fell[-8:]) < sum(fell[:8])
    assert trial.settings["task"] == "regression"


# --- the log -----------------------------------------------------------------------------------


def test_a_log_survives_its_file(tmp_path: Path) -> None:
    log = [
        StepMetrics(1, {"train/loss": 0.5, "größe": 1.0}),
        StepMetrics(2, {"train/loss": float("inf")}),
        StepMetrics(10, {"train/loss": 1e-300, "validation/f1": 0.0}),
    ]
    write_log(log, tmp_path / "log.parquet")
    assert read_log_file(tmp_path / "log.parquet") == log
    assert pq.read_table(tmp_path / "log.parquet").column_names == ["step", "metric", "value"]


def test_progress_is_what_the_log_keeps(fresh: Callable[[], Any]) -> None:
    lab = fresh()
    trial = lab.trial("{kind: ft}", "distill.epochs=1.5")
    progress = list(train_student(trial.distill, lab.store))
    assert [(p.done, p.total) for p in progress] == [(n, 6) for n in range(1, 7)]
    assert [p.metrics for p in progress] == read_log(trial.distill, lab.store)
    # A training that ends inside an epoch is measured at its end.
    measured = [p.done for p in progress if p.metrics and "validation/f1" in p.metrics.values]
    assert measured == [4, 6]
