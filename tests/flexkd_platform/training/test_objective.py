"""Each method's loss against the same composition written in fp64 NumPy, and what is not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from flexkd_platform.spec import METHODS, FlexKd, LogitLoss
from flexkd_platform.tasks import HEADS, Batch
from flexkd_platform.training import SoloWorker, objective
from flexkd_platform.training.feature_terms import FeatureTerm, paired_units
from flexkd_platform.training.hidden_states import LOGITS
from flexkd_platform.training.micro_batch import MicroBatchOutputs
from flexkd_platform.training.objective import (
    CORRELATION_QUANTILES,
    DistillationObjective,
    uses_head,
)
from flexkd_platform.training.teacher_signal import TeacherRows

from ..lab import method_of

EXAMPLES, WIDTH, CLASSES = 9, 7, 3
ROWS = [4, 0, 8, 3, 5]
RANKED = [5, 1, 6, 2]
OURS, THEIRS = 1, 3  # the pair of layers


def draw(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


class Teacher:
    """Kept features and outputs; counts how often it is asked."""

    def __init__(self, outputs: int = CLASSES) -> None:
        self.hidden, self.logits = draw(EXAMPLES, WIDTH, 0), draw(EXAMPLES, outputs, 1)
        self.asked = 0

    def __call__(self, rows: Sequence[int], batch: Batch) -> TeacherRows:
        self.asked += 1
        place = torch.tensor(rows)
        return TeacherRows({THEIRS: self.hidden[place]}, self.logits[place], None)


# --- an independent reference ------------------------------------------------------------------


def log_softmax(x: np.ndarray) -> Any:
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def kl(p: np.ndarray, q: np.ndarray) -> Any:
    """By row, of probabilities."""
    return np.where(p > 0, p * (np.log(np.where(p > 0, p, 1)) - np.log(q)), 0).sum(axis=1)


def bucketed(p: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The kept classes, and the rest as one."""
    few = np.take_along_axis(p, kept, axis=1)
    return np.concatenate([few, 1 - few.sum(axis=1, keepdims=True)], axis=1)


def logit(method: dict[str, Any], student: np.ndarray, teacher: np.ndarray) -> float:
    """The logit term of a method: of a logit method its own, of a feature method `logit`."""
    term = {**method, **method.get("logit", {})}
    if "logit" not in method:
        own = {"minillm": "reverse_kl", "kd": "forward_kl"}
        term["kind"] = own.get(method["kind"], method["kind"])
        if term["kind"] not in (*own.values(), "jsd", "skew_fkl", "skew_rkl", "tvd", "uld"):
            term["kind"] = "forward_kl"
        term["beta"] = method.get("mixture", 0.5)
    if term["kind"] == "logit_mse":
        return float(((student - teacher) ** 2).mean())
    tau, skew, beta = term.get("temperature", 1.0), term.get("skew", 0.1), term["beta"]
    s, t = np.exp(log_softmax(student / tau)), np.exp(log_softmax(teacher / tau))
    if term.get("top_k"):
        kept = np.argsort(-teacher, axis=1)[:, : term["top_k"]]
        s, t = bucketed(s, kept), bucketed(t, kept)
    mixture = beta * t + (1 - beta) * s
    rows = {
        "forward_kl": kl(t, s) * tau**2,
        "reverse_kl": kl(s, t) * tau**2,
        "jsd": (beta * kl(t, mixture) + (1 - beta) * kl(s, mixture)) * tau**2,
        "skew_fkl": kl(t, skew * t + (1 - skew) * s) * tau**2,
        "skew_rkl": kl(s, skew * s + (1 - skew) * t) * tau**2,
        "tvd": np.abs(s - t).sum(axis=1) / 2 * tau,
        "uld": np.abs(np.sort(s) - np.sort(t)).sum(axis=1) * tau,
    }
    names = {"skew_forward_kl": "skew_fkl", "skew_reverse_kl": "skew_rkl"}
    return float(rows[names.get(term["kind"], term["kind"])].mean())


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


def procrustes(s: np.ndarray, t: np.ndarray) -> float:
    a, b = s - s.mean(axis=0), t - t.mean(axis=0)
    singular = np.linalg.svd(a.T @ b, compute_uv=False)
    return float(2 - 2 * singular.sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


def gram(s: np.ndarray, t: np.ndarray) -> float:
    a, b = s / np.linalg.norm(s), t / np.linalg.norm(t)
    return float(np.linalg.norm(a @ a.T - b @ b.T))


def feature(method: dict[str, Any], s: np.ndarray, hidden: np.ndarray) -> float:
    kind, loss = method["kind"], method.get("loss")
    if kind == "cka":
        return 1 - cka(s, hidden, method.get("form", "sqrt"))
    if kind == "procrustes":
        return procrustes(s, hidden)
    if kind == "gram":
        return gram(s, hidden)
    if kind == "projector":
        if loss == "correlation":
            deviation = (1 - correlations(s, hidden)) ** 2
            return float(deviation.mean() if method.get("reduction") == "mean" else deviation.sum())
        return float(((s - hidden) ** 2).mean())
    units = sorted(RANKED) if method.get("pairing") == "index" else RANKED
    t = hidden @ DIRECTIONS_TS if method.get("target") == "directions" else hidden[:, units]
    if loss == "mse":
        return float(((s - t) ** 2).mean())
    if loss == "cosine":
        return cosine(s, t)
    deviation = (1 - correlations(s, t)) ** 2
    return float(deviation.mean() if method.get("reduction") == "mean" else deviation.sum())


DIRECTIONS_TS = np.linalg.qr(draw(WIDTH, len(RANKED), 9).double().numpy())[0]

METHOD_SETTINGS: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "seqkd"},
    {"kind": "minillm"},
    {"kind": "minillm", "beta": 0.7, "lambda": 0.2, "temperature": 2.0},
    {"kind": "jsd"},
    {"kind": "jsd", "mixture": 0.1, "temperature": 3.0},
    {"kind": "skew_fkl"},
    {"kind": "skew_fkl", "skew": 0.4, "temperature": 0.5},
    {"kind": "skew_rkl"},
    {"kind": "skew_rkl", "skew": 0.0, "lambda": 1.0},
    {"kind": "tvd"},
    {"kind": "tvd", "temperature": 2.0},
    {"kind": "uld"},
    {"kind": "uld", "temperature": 2.0, "lambda": 0.5},
    {"kind": "kd", "top_k": 1},
    {"kind": "kd", "top_k": 2, "temperature": 4.0},
    {"kind": "minillm", "top_k": 1, "temperature": 0.5},
    {"kind": "tvd", "top_k": 1, "temperature": 3.0},
    {"kind": "procrustes"},
    {"kind": "gram", "alpha": 2.0, "beta": 0.1},
    {"kind": "kd"},
    {"kind": "kd", "beta": 0.3, "lambda": 2.0, "temperature": 4.0},
    {"kind": "kd", "beta": 1.0, "lambda": 0},
    {"kind": "projector"},
    {"kind": "projector", "alpha": 0.2, "loss": "correlation"},
    {"kind": "cka"},
    {"kind": "cka", "alpha": 1.5, "form": "kornblith", "lambda": 0},
    {"kind": "flexkd"},
    {"kind": "flexkd", "alpha": 0.05, "beta": 1.0, "lambda": 0},
    {"kind": "flexkd", "beta": 1.0, "logit": {"kind": "reverse_kl", "temperature": 2.0}},
    {"kind": "flexkd", "target": "directions"},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "jsd", "beta": 0.3}},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "skew_forward_kl", "skew": 0.2}},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "skew_reverse_kl", "skew": 0.2}},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "tvd"}},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "uld"}},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "logit_mse"}},
    {"kind": "cka", "beta": 1.0, "logit": {"kind": "forward_kl", "top_k": 2}},
    {"kind": "flexkd", "alpha": 0.7, "beta": 0.2, "lambda": 0.1, "reduction": "mean"},
    {"kind": "flexkd", "loss": "mse", "pairing": "index"},
    {"kind": "flexkd", "loss": "cosine"},
    {"kind": "flexkd", "alpha": 0, "beta": 0.5},
]


FEATURES = {"projector", "cka", "flexkd", "procrustes", "gram"}


def weights(method: dict[str, Any]) -> dict[str, float]:
    """λ, β and α, with the defaults: KD 0.5 and 0.5, other logit methods 0 and 1, features 0.5."""
    if method["kind"] in ("ft", "seqkd"):
        return {"supervised": 1.0, "logit": 0.0, "feature": 0.0}
    if method["kind"] in FEATURES:
        default = {"lambda": 0.5, "beta": 0.0, "alpha": 0.5}
    else:
        own = 0.5 if method["kind"] == "kd" else 1.0
        default = {"lambda": 1.0 - own, "beta": own, "alpha": 0.0}
    given = default | {name: method[name] for name in default if name in method}
    return {"supervised": given["lambda"], "logit": given["beta"], "feature": given["alpha"]}


def objective_of(
    settings: dict[str, Any], teacher: Teacher | None, task: str = "classification"
) -> DistillationObjective:
    method = method_of(settings)
    terms = []
    if weights(settings)["feature"]:
        matched: dict[str, Any] = {}
        if settings.get("target") == "directions":
            matched["directions_TC"] = torch.from_numpy(DIRECTIONS_TS)
        elif isinstance(method, FlexKd):
            matched["units"] = paired_units(method.selection.pairing, RANKED)
        terms = [FeatureTerm(OURS, THEIRS, **matched)]
    return DistillationObjective(method, task, teacher, terms)


LABELS = torch.arange(EXAMPLES) % CLASSES


def part_of(
    rows: Sequence[int], features_ND: Tensor, logits_NC: Tensor, labels: Tensor = LABELS
) -> MicroBatchOutputs:
    """What a student put out on some examples, of a classifier."""
    batch = Batch({}, labels[torch.tensor(rows)], None, {})
    out = {str(OURS): features_ND, LOGITS: logits_NC}
    return MicroBatchOutputs(rows, batch, True, out, {"": [len(rows)], "targets": [len(rows)]})


def told(objective: DistillationObjective, part: MicroBatchOutputs) -> dict[str, Tensor]:
    """The terms, with what the teacher says about the part."""
    return objective(replace(part, teacher=objective.ask(part)), SoloWorker())


def terms_of(
    settings: dict[str, Any],
    teacher: Teacher | None,
    rows: Sequence[int],
    features_ND: Tensor,
    logits_NC: Tensor,
) -> dict[str, Tensor]:
    part = part_of(rows, features_ND, logits_NC)
    return told(objective_of(settings, teacher), part)


def student(settings: dict[str, Any], outputs: int = CLASSES) -> tuple[Tensor, Tensor]:
    width = len(RANKED) if settings["kind"] == "flexkd" else WIDTH
    features_ND, logits_NC = draw(len(ROWS), width, 2), draw(len(ROWS), outputs, 3)
    return features_ND.requires_grad_(), logits_NC.requires_grad_()


def test_every_method_is_tried() -> None:
    assert {settings["kind"] for settings in METHOD_SETTINGS} == set(METHODS)
    losses = {settings["logit"]["kind"] for settings in METHOD_SETTINGS if "logit" in settings}
    of_union = get_args(get_args(LogitLoss)[0])
    assert losses == {get_args(one.model_fields["kind"].annotation)[0] for one in of_union}


def reference(
    settings: dict[str, Any], teacher: Teacher, features: np.ndarray, logits: np.ndarray
) -> dict[str, float]:
    """Every term that has a weight, and the loss."""
    hidden, theirs = (x.double().numpy()[ROWS] for x in (teacher.hidden, teacher.logits))
    terms: dict[str, Callable[[], float]] = {
        "supervised": lambda: cross_entropy(logits, np.array(ROWS) % CLASSES),
        "logit": lambda: logit(settings, logits, theirs),
        "feature": lambda: feature(settings, features, hidden),
    }
    weight = weights(settings)
    found = {name: term() for name, term in terms.items() if weight[name]}
    loss = sum(weight[name] * value for name, value in found.items())
    if has_mean(settings):
        found["feature_mean"] = feature({**settings, "reduction": "mean"}, features, hidden)
        found |= quantiles(settings, features, hidden)
    if compares_rows(settings):
        found["skipped"] = 0.0
    return {"loss": loss, **found}


def quantiles(settings: dict[str, Any], s: np.ndarray, hidden: np.ndarray) -> dict[str, float]:
    """5 %, 50 % and 95 % quantiles of C_m over the pairs."""
    matched = hidden
    if settings["kind"] == "flexkd":
        directions = settings.get("target") == "directions"
        matched = hidden @ DIRECTIONS_TS if directions else hidden[:, RANKED]
    values = np.quantile(correlations(s, matched), list(CORRELATION_QUANTILES.values()))
    return dict(zip(CORRELATION_QUANTILES, map(float, values), strict=True))


def has_mean(settings: dict[str, Any]) -> bool:
    """Whether the loss is a correlation, which is logged as a mean over units too."""
    usual = {"flexkd": "correlation", "projector": "mse"}.get(settings["kind"])
    correlates = usual is not None and settings.get("loss", usual) == "correlation"
    return correlates and bool(weights(settings)["feature"])


def compares_rows(settings: dict[str, Any]) -> bool:
    """Whether the feature loss has statistics of the batch."""
    others = settings["kind"] in {"cka", "procrustes", "gram"}
    return has_mean(settings) or (others and bool(weights(settings)["feature"]))


@pytest.mark.parametrize("settings", METHOD_SETTINGS, ids=str)
def test_the_loss_is_its_weighted_terms(settings: dict[str, Any]) -> None:
    teacher = Teacher()
    features_ND, logits_NC = student(settings)
    terms = terms_of(settings, teacher, ROWS, features_ND, logits_NC)
    plain = (x.detach().double().numpy() for x in (features_ND, logits_NC))
    expected = reference(settings, teacher, *plain)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    weight = weights(settings)
    assert asdict(method_of(settings).weights) == weight
    assert uses_head(method_of(settings)) == bool(weight["supervised"] or weight["logit"])
    assert teacher.asked


@pytest.mark.parametrize("settings", METHOD_SETTINGS, ids=str)
def test_the_gradient_is_that_of_the_weighted_sum(settings: dict[str, Any]) -> None:
    """Against central differences of the fp64 reference along a direction in both inputs."""
    teacher = Teacher()
    inputs = student(settings)
    torch.autograd.backward(terms_of(settings, teacher, ROWS, *inputs)["loss"])
    plain = [leaf.detach().double().numpy() for leaf in inputs]
    generator = np.random.default_rng(0)
    for place, leaf in enumerate(inputs):
        direction = generator.normal(size=leaf.shape)
        sides = []
        for sign in (1, -1):
            moved = list(plain)
            moved[place] = plain[place] + sign * 1e-5 * direction
            sides.append(reference(settings, teacher, *moved)["loss"])
        slope = (sides[0] - sides[1]) / 2e-5
        found = 0.0 if leaf.grad is None else float((leaf.grad.numpy() * direction).sum())
        assert found == pytest.approx(slope, rel=1e-3, abs=1e-5)
    reaches_features = inputs[0].grad is not None and bool(inputs[0].grad.any())
    assert reaches_features == (weights(settings)["feature"] > 0)


@pytest.mark.parametrize("settings", METHOD_SETTINGS, ids=str)
def test_a_term_without_weight_is_not_computed(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> Tensor:
        raise AssertionError("this term has no weight")

    weight, teacher, head = weights(settings), Teacher(), HEADS["classes"]
    if not weight["supervised"]:
        head = replace(head, supervised=forbidden)
    if not weight["logit"]:
        monkeypatch.setattr(objective, "logit_loss", forbidden)
    monkeypatch.setattr(objective, "head_of", lambda task: head)
    features_ND, logits_NC = student(settings)
    if not weight["feature"]:
        features_ND = features_ND[:, :1]  # fits no feature loss
    terms = terms_of(settings, teacher, ROWS, features_ND, logits_NC)
    also = {"feature_mean", *CORRELATION_QUANTILES} if has_mean(settings) else set()
    also |= {"skipped"} if compares_rows(settings) else set()
    assert set(terms) == {"loss", *(name for name, value in weight.items() if value)} | also


def test_fine_tuning_has_no_use_for_a_teacher() -> None:
    settings = {"kind": "ft"}
    with_one = terms_of(settings, Teacher(), ROWS, *student(settings))
    without = terms_of(settings, None, ROWS, *student(settings))
    assert with_one["loss"].item() == without["loss"].item()


@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_of_one_row_or_two_has_a_loss(rows: int) -> None:
    """A last batch may hold few examples: its gradient is finite, and it is counted."""
    for settings in METHOD_SETTINGS:
        features_ND, logits_NC = student(settings)
        given = (features_ND[:rows], logits_NC[:rows])
        terms = terms_of(settings, Teacher(), [2, 3][:rows], *given)
        assert torch.isfinite(terms["loss"])
        assert ("skipped" in terms) == compares_rows(settings)
        assert terms.get("skipped", torch.ones(())).item() == 1
        torch.autograd.backward(terms["loss"])
        for leaf in (features_ND, logits_NC):
            assert leaf.grad is None or torch.isfinite(leaf.grad).all()


def test_units_meet_the_students_in_rank_or_index_order() -> None:
    rank, index = FlexKd(kind="flexkd").selection, FlexKd(kind="flexkd", pairing="index").selection
    assert paired_units(rank.pairing, RANKED).tolist() == [5, 1, 6, 2]
    assert paired_units(index.pairing, RANKED).tolist() == [1, 2, 5, 6]


def test_regression_compares_outputs_by_squared_error() -> None:
    teacher = Teacher(outputs=1)
    labels = torch.linspace(-1, 1, EXAMPLES)
    temperature = {"kind": "forward_kl", "temperature": 3.0}
    settings = {"kind": "flexkd", "alpha": 0.5, "beta": 0.25, "lambda": 2.0, "logit": temperature}
    features_ND, logits_N1 = student(settings, outputs=1)
    part = part_of(ROWS, features_ND, logits_N1, labels)
    found = told(objective_of(settings, teacher, "regression"), part)
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
