"""Each method's loss against the same composition written in fp64 NumPy, and what is not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flexkd_platform.spec import METHODS
from flexkd_platform.steps.objective import (
    DistillationObjective,
    feature_loss,
    loss_weights,
    paired_units,
    parse_method,
    temperature_of,
)
from flexkd_platform.tasks import TASKS, Head

EXAMPLES, WIDTH, CLASSES = 9, 7, 3
ROWS = [4, 0, 8, 3, 5]
RANKED = [5, 1, 6, 2]


def draw(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


class Teacher:
    """Kept features and outputs; counts how often it is asked."""

    def __init__(self, outputs: int = CLASSES) -> None:
        self.hidden, self.logits = draw(EXAMPLES, WIDTH, 0), draw(EXAMPLES, outputs, 1)
        self.asked = 0

    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        self.asked += 1
        return self.hidden[torch.tensor(rows)], self.logits[torch.tensor(rows)]


# --- an independent reference ------------------------------------------------------------------


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def kl(student: np.ndarray, teacher: np.ndarray, tau: float) -> float:
    s, t = log_softmax(student / tau), log_softmax(teacher / tau)
    return float((np.exp(t) * (t - s)).sum(axis=1).mean() * tau**2)


def correlations(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(s[:, m], t[:, m])[0, 1] for m in range(s.shape[1])])


def cka(s: np.ndarray, t: np.ndarray, form: str) -> float:
    n = len(s)
    centre = np.eye(n) - 1 / n
    k, m = centre @ s @ s.T @ centre, centre @ t @ t.T @ centre
    value = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    return float(np.sqrt(value) if form == "sqrt" else value)


def cosine(s: np.ndarray, t: np.ndarray) -> float:
    norms = np.linalg.norm(s, axis=1) * np.linalg.norm(t, axis=1)
    return float(np.mean(1 - (s * t).sum(axis=1) / norms))


def feature(method: dict[str, Any], s: np.ndarray, hidden: np.ndarray) -> float:
    kind, loss = method["kind"], method.get("loss")
    if kind == "cka":
        return 1 - cka(s, hidden, method.get("form", "sqrt"))
    if kind == "projector":
        if loss == "correlation":
            return float(((1 - correlations(s, hidden)) ** 2).sum())
        return float(((s - hidden) ** 2).mean())
    units = sorted(RANKED) if method.get("pairing") == "index" else RANKED
    t = hidden[:, units]
    if loss == "mse":
        return float(((s - t) ** 2).mean())
    if loss == "cosine":
        return cosine(s, t)
    deviation = (1 - correlations(s, t)) ** 2
    return float(deviation.mean() if method.get("reduction") == "mean" else deviation.sum())


METHOD_SETTINGS: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "kd"},
    {"kind": "kd", "beta": 0.3, "lambda": 2.0, "temperature": 4.0},
    {"kind": "kd", "beta": 1.0, "lambda": 0},
    {"kind": "projector"},
    {"kind": "projector", "alpha": 0.2, "loss": "correlation"},
    {"kind": "cka"},
    {"kind": "cka", "alpha": 1.5, "form": "kornblith", "lambda": 0},
    {"kind": "flexkd"},
    {"kind": "flexkd", "alpha": 0.05, "beta": 1.0, "lambda": 0, "temperature": 2.0},
    {"kind": "flexkd", "alpha": 0.7, "beta": 0.2, "lambda": 0.1, "reduction": "mean"},
    {"kind": "flexkd", "loss": "mse", "pairing": "index"},
    {"kind": "flexkd", "loss": "cosine"},
    {"kind": "flexkd", "alpha": 0, "beta": 0.5},
]


def weights(method: dict[str, Any]) -> dict[str, float]:
    """λ, β and α, with the defaults: KD 0.5 and 0.5, feature methods 0.5, 0 and 0.5."""
    if method["kind"] == "ft":
        return {"supervised": 1.0, "logit": 0.0, "feature": 0.0}
    default_beta, default_alpha = (0.5, 0.0) if method["kind"] == "kd" else (0.0, 0.5)
    return {
        "supervised": method.get("lambda", 0.5),
        "logit": method.get("beta", default_beta),
        "feature": method.get("alpha", default_alpha),
    }


def objective(
    settings: dict[str, Any], teacher: Teacher | None, head: Head = TASKS["classification"]
) -> DistillationObjective:
    method = parse_method(settings)
    units = paired_units(method, RANKED) if method.kind == "flexkd" else None
    labels = torch.arange(EXAMPLES) % CLASSES
    return DistillationObjective(method, head, labels, teacher, units)


def student(settings: dict[str, Any], outputs: int = CLASSES) -> tuple[Tensor, Tensor]:
    width = len(RANKED) if settings["kind"] == "flexkd" else WIDTH
    features_ND, logits_NC = draw(len(ROWS), width, 2), draw(len(ROWS), outputs, 3)
    return features_ND.requires_grad_(), logits_NC.requires_grad_()


def test_every_method_is_tried() -> None:
    assert {settings["kind"] for settings in METHOD_SETTINGS} == set(METHODS)


@pytest.mark.parametrize("settings", METHOD_SETTINGS, ids=str)
def test_the_loss_is_its_weighted_terms(settings: dict[str, Any]) -> None:
    teacher = Teacher()
    features_ND, logits_NC = student(settings)
    terms = objective(settings, teacher)(ROWS, features_ND, logits_NC)
    s, logits = features_ND.detach().double().numpy(), logits_NC.detach().double().numpy()
    hidden = teacher.hidden.double().numpy()[ROWS]
    expected = {
        "supervised": lambda: cross_entropy(logits, np.array(ROWS) % CLASSES),
        "logit": lambda: kl(
            logits, teacher.logits.double().numpy()[ROWS], settings.get("temperature", 1.0)
        ),
        "feature": lambda: feature(settings, s, hidden),
    }
    weight = weights(settings)
    there = {name: expected[name]() for name in expected if weight[name]}
    assert set(terms) == {"loss", *there}
    for name, value in there.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name
    total = sum(weight[name] * value for name, value in there.items())
    assert terms["loss"].item() == pytest.approx(total, rel=1e-5)
    assert terms["loss"].dtype == torch.float32
    assert loss_weights(parse_method(settings)) == weight


@pytest.mark.parametrize("settings", METHOD_SETTINGS, ids=str)
def test_the_gradient_is_that_of_the_weighted_sum(settings: dict[str, Any]) -> None:
    features_ND, logits_NC = student(settings)
    terms = objective(settings, Teacher())(ROWS, features_ND, logits_NC)
    inputs = (features_ND, logits_NC)
    found = torch.autograd.grad(terms["loss"], inputs, retain_graph=True, allow_unused=True)
    weight = weights(settings)
    for place, gradient in enumerate(found):
        expected = torch.zeros_like(inputs[place])
        for name in set(terms) - {"loss"}:
            part = torch.autograd.grad(
                terms[name], inputs[place], retain_graph=True, allow_unused=True
            )[0]
            expected += 0 if part is None else weight[name] * part
        torch.testing.assert_close(
            torch.zeros_like(expected) if gradient is None else gradient, expected
        )
    reaches_features = weight["feature"] > 0
    assert (found[0] is not None and bool(found[0].any())) == reaches_features


@pytest.mark.parametrize("settings", METHOD_SETTINGS, ids=str)
def test_a_term_without_weight_is_not_computed(settings: dict[str, Any]) -> None:
    def forbidden(*_: Any) -> Tensor:
        raise AssertionError("this term has no weight")

    weight, teacher, head = weights(settings), Teacher(), TASKS["classification"]
    if not weight["supervised"]:
        head = replace(head, supervised=forbidden)
    if not weight["logit"]:
        head = replace(head, logit=forbidden)
    features_ND, logits_NC = student(settings)
    if not weight["feature"]:
        features_ND = features_ND[:, :1]  # fits no feature loss
    objective(settings, teacher, head)(ROWS, features_ND, logits_NC)
    assert teacher.asked == bool(weight["logit"] or weight["feature"])


def test_fine_tuning_has_no_use_for_a_teacher() -> None:
    settings = {"kind": "ft"}
    with_one = objective(settings, Teacher())(ROWS, *student(settings))
    without = objective(settings, None)(ROWS, *student(settings))
    assert with_one["loss"].item() == without["loss"].item()
    assert temperature_of(parse_method(settings)) == 1.0
    with pytest.raises(ValueError, match="ft has no feature loss"):
        feature_loss(parse_method(settings))


def test_a_batch_of_one_row_has_a_loss() -> None:
    """A batch may hold one example: it correlates with nothing, but its gradient is finite."""
    for settings in METHOD_SETTINGS:
        features_ND, logits_NC = student(settings)
        terms = objective(settings, Teacher())([2], features_ND[:1], logits_NC[:1])
        assert torch.isfinite(terms["loss"])
        terms["loss"].backward()
        for leaf in (features_ND, logits_NC):
            assert leaf.grad is None or torch.isfinite(leaf.grad).all()


def test_units_meet_the_students_in_rank_or_index_order() -> None:
    rank = parse_method({"kind": "flexkd"})
    index = parse_method({"kind": "flexkd", "pairing": "index"})
    assert paired_units(rank, RANKED).tolist() == [5, 1, 6, 2]
    assert paired_units(index, RANKED).tolist() == [1, 2, 5, 6]


def test_regression_compares_outputs_by_squared_error() -> None:
    teacher = Teacher(outputs=1)
    labels = torch.linspace(-1, 1, EXAMPLES)
    settings = {"kind": "flexkd", "alpha": 0.5, "beta": 0.25, "lambda": 2.0, "temperature": 3.0}
    features_ND, logits_N1 = student(settings, outputs=1)
    method = parse_method(settings)
    found = DistillationObjective(
        method, TASKS["regression"], labels, teacher, paired_units(method, RANKED)
    )(ROWS, features_ND, logits_N1)
    outputs = logits_N1.detach().double().numpy()[:, 0]
    errors = {
        "supervised": np.mean((outputs - labels.double().numpy()[ROWS]) ** 2),
        "logit": np.mean((outputs - teacher.logits.double().numpy()[ROWS, 0]) ** 2),
        "feature": feature(
            settings, features_ND.detach().double().numpy(), teacher.hidden.double().numpy()[ROWS]
        ),
    }
    assert {name: found[name].item() for name in errors} == pytest.approx(errors, rel=1e-5)
    total = 2.0 * errors["supervised"] + 0.25 * errors["logit"] + 0.5 * errors["feature"]
    assert found["loss"].item() == pytest.approx(total, rel=1e-5)
