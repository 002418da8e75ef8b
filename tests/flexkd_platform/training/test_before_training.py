"""What is computed on a sample before the training, against plain forwards of both models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from flexkd_platform.artifacts import read_log
from flexkd_platform.plan import stack_of
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.training import before_training
from flexkd_platform.training.before_training import SAMPLE, sample_features, sample_rows
from flexkd_platform.training.feature_terms import feature_loss

from ..lab import Lab, training_of

ROWS = [9, 2, 17, 0, 21]


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_features_of_a_sample_are_those_of_both_models(lab: Lab, cache: str) -> None:
    trial = lab.trial("{kind: flexkd}", f"distill.teacher_cache={cache}")
    training = training_of(trial.distill, lab.store)
    signal = training.objective.targets
    assert signal is not None
    training.module.train()
    device, terms = torch.device("cpu"), training.terms
    ((student_NS, teacher_NT),) = sample_features(
        training.module, training.data, signal, terms, ROWS, device, batch_size=2
    )
    assert training.module.training, "the mode is restored"
    assert not student_NS.requires_grad
    teacher_step = next(s for s in trial.distill.upstream() if s.kind == "teacher")
    teacher, _ = load_teacher(teacher_step, lab.store)
    for model, found, width in ((training.model, student_NS, 8), (teacher, teacher_NT, 16)):
        expected = torch.cat([_first_position(model, training.data, row) for row in ROWS])
        assert found.shape == (len(ROWS), width)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def _first_position(model: Any, data: Any, row: int) -> torch.Tensor:
    """The last hidden state at [CLS], of one example without padding."""
    with torch.no_grad():
        out = model.eval()(**data.batch([row]).inputs, output_hidden_states=True)
    return out.hidden_states[-1][:, 0]


def test_a_sample_is_drawn_by_its_seed() -> None:
    assert sample_rows(10, 3) == list(range(10))
    one, again, other = sample_rows(1000, 3), sample_rows(1000, 3), sample_rows(1000, 4)
    assert one == again != other
    assert len(set(one)) == SAMPLE
    assert max(one) > 500, "not the first rows"


# --- normalise: gradient -----------------------------------------------------------------------


def gradient_norms(training: Any, rows: list[int]) -> tuple[float, float]:
    """‖∂L_feature/∂h‖ and ‖∂L_supervised/∂h‖, one forward of the whole sample by autograd alone.

    The feature loss is a sum over layers; each part is derived by its own layer's hidden state.
    """
    module = training.module.eval()
    batch = training.data.batch(rows)
    kwargs = dict(batch.inputs)
    out = module.model(**kwargs, output_hidden_states=True)
    hidden, student, teacher = [], [], []
    signal = training.objective.targets(rows, batch)
    for term in training.terms:
        stack, _, place = str(term.student).rpartition(".")
        kept = getattr(out, f"{stack}_hidden_states" if stack else "hidden_states")
        hidden_BTD = kept[int(place) + 1]
        mask_BT = batch.feature_masks.get(stack_of(term.student))
        hidden.append(hidden_BTD)
        student.append(hidden_BTD[:, 0] if mask_BT is None else hidden_BTD[mask_BT])
        teacher.append(term.matched(signal.features[term.teacher]))
    if module.projectors:
        student = [module.projectors[i](rows_NS) for i, rows_NS in enumerate(student)]
    loss = feature_loss(training.config.method)
    logits = out.logits if batch.targets_BT is None else out.logits[batch.targets_BT]
    supervised = torch.nn.functional.cross_entropy(logits, batch.labels_N)
    by_layer = [
        torch.autograd.grad(
            loss(s_NS, t_NS, **term.loss_arguments(s_NS)), h_BTD, retain_graph=True
        )[0]
        for term, s_NS, t_NS, h_BTD in zip(training.terms, student, teacher, hidden, strict=True)
    ]
    found = by_layer, torch.autograd.grad(supervised, hidden)
    feature, labels = (math.sqrt(sum(float(g.square().sum()) for g in each)) for each in found)
    return feature, labels


NORMALISED = [
    "{kind: flexkd, normalise: gradient}",
    "{kind: flexkd, normalise: gradient, weights: importance, pairing: matched}",
    "{kind: projector, normalise: gradient, loss: mse, alpha: 0.2}",
    "{kind: cka, normalise: gradient, lambda: 0, beta: 1}",
]


@pytest.mark.parametrize("cache", ["auto", "off"])
@pytest.mark.parametrize("method", NORMALISED)
def test_both_gradients_have_one_norm_before_the_first_step(
    lab: Lab, method: str, cache: str
) -> None:
    trial = lab.trial(method, f"distill.teacher_cache={cache}")
    training = training_of(trial.distill, lab.store)
    rows = sample_rows(len(training.data), trial.seed)
    feature, supervised = gradient_norms(training, rows)
    first = next(training.run())
    scale = training.scale.value
    assert scale * feature == pytest.approx(supervised, rel=1e-4)
    # The first step's loss is the documented sum, with the terms as they are without the scale.
    assert first.metrics is not None
    values, weights = first.metrics.values, trial.distill.config.method.weights
    expected = weights.feature * scale * values["train/feature"]
    expected += weights.logit * values.get("train/logit", 0.0)
    expected += weights.supervised * values.get("train/supervised", 0.0)
    assert values["train/feature_scale"] == pytest.approx(scale)
    assert values["train/loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("width", [4, 8])
def test_the_norms_are_equal_at_every_width(lab: Lab, width: int) -> None:
    init = f"student.init={{kind: random, layers: 1, hidden_size: {width}}}"
    trial = lab.trial("{kind: flexkd, normalise: gradient}", init)
    training = training_of(trial.distill, lab.store)
    feature, supervised = gradient_norms(training, sample_rows(len(training.data), trial.seed))
    next(training.run())
    assert training.scale is not None
    assert training.scale.value * feature == pytest.approx(supervised, rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "task"), [("gpt2", "instruction"), ("bart", "summarization")]
)
def test_text_tasks_are_normalised_over_all_layers(
    world: Callable[..., Any], architecture: str, task: str
) -> None:
    """Layer 0: transformers gives the last one after a final norm."""
    lab = world(architecture, task)
    layers = "{encoder.0: encoder.0, decoder.0: decoder.0}" if task == "summarization" else "{0: 0}"
    method = f"{{kind: gram, normalise: gradient, layers: {layers}}}"
    trial = lab.trial(method, "student.init.layers=2")
    training = training_of(trial.distill, lab.store)
    feature, supervised = gradient_norms(training, sample_rows(len(training.data), trial.seed))
    next(training.run())
    assert training.scale is not None
    assert training.scale.value * feature == pytest.approx(supervised, rel=1e-3)


def test_the_scale_is_published_and_is_the_trainings_own(lab: Lab) -> None:
    trial, plain = lab.trial(NORMALISED[0]), lab.trial("{kind: flexkd}")
    assert trial.hash != plain.hash
    assert trial.params["normalise"] == "gradient"
    lab.run(trial)
    lab.run(plain)
    scale = lab.store.manifest(trial.distill).summary["feature_scale"]
    (logged,) = {
        entry.values["train/feature_scale"] for entry in read_log(trial.distill, lab.store)
    }
    assert logged == pytest.approx(scale)
    assert "feature_scale" not in lab.store.manifest(plain.distill).summary


@pytest.mark.parametrize("name", ["feature", "supervised"])
@pytest.mark.parametrize("norm", [0.0, math.inf, math.nan])
def test_a_gradient_that_gives_no_scale_is_an_error(
    lab: Lab, name: str, norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = training_of(lab.trial(NORMALISED[0]).distill, lab.store)
    monkeypatch.setattr(before_training, f"_{name}_gradient", lambda *_: norm)
    with pytest.raises(ValueError, match=f"gradient of the {name} loss on .* set normalise: none"):
        next(training.run())


def test_normalising_draws_nothing_from_the_global_generator(lab: Lab) -> None:
    training = training_of(lab.trial(NORMALISED[2]).distill, lab.store)
    before = torch.get_rng_state()
    training._normalise()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in training.module.parameters())
