"""Where a student starts, and which of its checkpoints is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flexkd_platform.artifacts import read_log, read_rows, read_units
from flexkd_platform.plan import Trial
from flexkd_platform.spec import TASK_KINDS, FineTune
from flexkd_platform.steps.initial_student import initial_student
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.training.encoding import encode
from flexkd_platform.training.metrics import better, compute_metrics

from ..lab import train_student, training_of
from ..worlds import WORLDS

# Large steps on a dozen examples: what is learned of them soon costs on others.
OVERFITTING = "batch_size: 12, epochs: 16, learning_rate: 0.15, warmup_share: 0"


def trial_of(lab: Any, *overrides: str, method: str = "{kind: ft}") -> Trial:
    plan = lab.plan(f"sweep.methods=[{method}]", *overrides)
    lab.share(plan)
    (trial,) = plan.trials
    return trial  # type: ignore[no-any-return]


def embedding(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.get_input_embeddings().weight
    return weight


# --- aligned -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "task"), WORLDS)
def test_unit_m_of_an_aligned_student_starts_as_unit_i_m(
    world: Callable[..., Any], architecture: str, task: str
) -> None:
    lab = world(architecture, task)
    init = "student.init={kind: aligned, layers: 2, hidden_size: 8, weights: finetuned}"
    trial = trial_of(lab, init, method="{kind: flexkd}")
    student, _ = initial_student(trial.distill.config, lab.store)
    teacher, _ = load_teacher(trial.distill.needs["source"], lab.store)
    role = "aligned decoder" if task == "summarization" else "aligned"
    units = read_units(trial.distill.needs[role], lab.store)
    assert units != sorted(units)
    assert torch.equal(embedding(student), embedding(teacher)[:, units])
    # Before any step the loss pairs the same units: what is matched is where the student began.
    matched = training_of(trial.distill, lab.store).terms[-1].units
    assert matched is not None
    assert matched.tolist() == units


# --- keep: best --------------------------------------------------------------------------------


def validation(lab: Any, step: Any) -> list[float]:
    """`nll` on the validation split, epoch by epoch."""
    values = [entry.values for entry in read_log(step, lab.store)]
    return [found["validation/nll"] for found in values if "validation/nll" in found]


def measured(lab: Any, step: Any) -> float:
    """`nll` of the published model on the validation split."""
    model, tokenizer = load_teacher(step, lab.store)
    table = read_rows(lab.store.folder(step.needs["dataset"]), "validation")
    data = encode(table, tokenizer, step.config.reading)
    return compute_metrics(model, data, "instruction", "validation", torch.device("cpu"))["nll"]


def test_the_best_epoch_is_kept_and_not_the_last(world: Callable[..., Any]) -> None:
    lab = world("gpt2", "instruction")
    trials = {keep: trial_of(lab, f"distill={{{OVERFITTING}, keep: {keep}}}") for keep in KEPT}
    for trial in trials.values():
        list(train_student(trial.distill, lab.store))
    best, last = (validation(lab, trials[keep].distill) for keep in ("best", "last"))
    assert best == last  # what is kept does not change the training
    assert len(best) == 16
    assert min(best) == min(best[1:-1]) < best[-1] - 0.1  # an epoch in between was the best
    for keep, value in (("best", min(best)), ("last", best[-1])):
        step = trials[keep].distill
        assert measured(lab, step) == pytest.approx(value, rel=1e-6)
        summary = lab.store.manifest(step).summary["metrics"]
        assert summary["validation/nll"] == value


KEPT = ("best", "last")


def test_a_projector_is_kept_from_the_epoch_of_its_student(world: Callable[..., Any]) -> None:
    lab = world("gpt2", "instruction")
    method = "{kind: projector}"
    trial = trial_of(lab, f"distill={{{OVERFITTING}, keep: best}}", method=method)
    training = training_of(trial.distill, lab.store)
    (projector,) = training.module.projectors.parameters()
    by_epoch = []
    for progress in training.run():
        assert progress.metrics is not None
        nll = progress.metrics.values["validation/nll"]
        by_epoch.append((nll, projector.detach().clone()))
    best = min(range(16), key=lambda epoch: by_epoch[epoch][0])
    assert best < 15
    assert not torch.equal(by_epoch[best][1], by_epoch[-1][1])
    assert torch.equal(projector, by_epoch[best][1])


def test_better_goes_the_metrics_way_and_the_earlier_one_wins_a_tie() -> None:
    for task, kind in TASK_KINDS.items():
        name = kind.validation_metric
        lower, higher = {name: 0.25}, {name: 0.5}
        one, other = (lower, higher) if name in kind.lower_is_better else (higher, lower)
        assert better(task, one, other)
        assert not better(task, other, one)
        assert not better(task, one, one)
        assert better(task, other, None)


# --- warm-up -----------------------------------------------------------------------------------


def test_training_starts_from_the_best_epoch_of_the_warm_up(world: Callable[..., Any]) -> None:
    lab = world("gpt2", "instruction")
    trial = trial_of(lab, f"student.warm_up={{{OVERFITTING}}}", method="{kind: kd}")
    warm_up = trial.distill.needs["start"]
    assert warm_up.kind == "warm_up"
    assert set(warm_up.identity["distill"]) > set(FineTune.model_fields) - {
        "seed",
        "precision",
        "max_steps",
    }
    found = validation(lab, warm_up)
    assert min(found) < found[-1] - 0.1
    assert measured(lab, warm_up) == pytest.approx(min(found), rel=1e-6)
    student, _ = initial_student(trial.distill.config, lab.store)
    saved = load_file(lab.store.folder(warm_up) / "model" / "model.safetensors")
    state = student.state_dict()
    for name, weight in saved.items():
        assert torch.equal(state[name], weight)
    # And from nowhere else: the first loss of the training is the warm student's.
    list(train_student(trial.distill, lab.store))
    first = read_log(trial.distill, lab.store)[0].values["train/supervised"]
    table = read_rows(lab.store.folder(warm_up.needs["dataset"]), "train")
    model, tokenizer = load_teacher(warm_up, lab.store)
    data = encode(table, tokenizer, warm_up.config.reading)
    nll = compute_metrics(model, data, "instruction", "train", torch.device("cpu"))["nll"]
    assert first == pytest.approx(nll, rel=1e-5)


def test_a_warm_up_is_shared_by_the_methods_and_not_by_the_seeds(world: Callable[..., Any]) -> None:
    lab = world("gpt2", "instruction")
    plan = lab.plan(
        "sweep.methods=[{kind: ft}, {kind: kd}]", "sweep.seeds=[1, 2]", "student.warm_up={}"
    )
    warm_ups = [step for step in plan.shared if step.kind == "warm_up"]
    assert [step.config.seed for step in warm_ups] == [1, 2]
    for trial in plan.trials:
        assert trial.distill.config.start.config.seed == trial.seed
