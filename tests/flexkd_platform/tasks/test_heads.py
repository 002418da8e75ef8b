"""Metrics against scikit-learn's and SciPy's definitions written out, losses against fp64."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from flexkd_platform.spec import TASK_KINDS, ResponseTask
from flexkd_platform.tasks import HEADS, classification_metrics, head_of, regression_metrics


def logits_for(predicted: list[int], classes: int) -> np.ndarray:
    """Outputs whose largest is at the predicted class."""
    return np.eye(classes)[predicted] * 2 - 1


def draw(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


COLUMNS = {
    "classification": 3,
    "multilabel": 3,
    "regression": 1,
    "instruction": 5,
    "summarization": 5,
}
"""Outputs of each task's rows, for the draws below."""


def labels_for(task: str, rows: int) -> torch.Tensor:
    labels_N = torch.arange(rows) % COLUMNS[task]
    if task == "multilabel":
        return torch.nn.functional.one_hot(labels_N, COLUMNS[task]).float()
    return labels_N + 0.5 if task == "regression" else labels_N


def test_every_task_has_a_head_and_those_with_labels_their_metrics() -> None:
    assert set(TASK_KINDS) == set(COLUMNS)
    assert {kind.head for kind in TASK_KINDS.values()} == set(HEADS)
    for name, kind in TASK_KINDS.items():
        head = head_of(name)
        # What is written is measured by reading it: no metric is told from outputs.
        assert (head.metrics is None) == issubclass(kind, ResponseTask)
        if head.metrics is not None:
            several = name == "multilabel"
            labels_N = labels_for(name, 8).double().numpy() if several else np.arange(8.0) % 3
            found = head.metrics(draw(8, COLUMNS[name], 0), labels_N)
            assert set(found) == set(kind.metrics)
            assert all(type(value) is float for value in found.values())


# --- classification ----------------------------------------------------------------------------


@given(
    st.integers(2, 4).flatmap(
        lambda classes: st.tuples(
            st.just(classes),
            st.lists(
                st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)),
                min_size=1,
                max_size=20,
            ),
        )
    )
)
def test_classification_laws(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = drawn
    predicted, expected = (list(side) for side in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a class that is not there is no reason to warn a user
        found = classification_metrics(logits_for(predicted, classes), np.array(expected, float))
    assert found["accuracy"] == np.mean([p == e for p, e in pairs])
    assert 0 <= found["f1"] <= 1
    assert -1 <= found["matthews"] <= 1
    # Outputs are read by their order alone.
    scaled = classification_metrics(
        logits_for(predicted, classes) * 0.01 + 5, np.array(expected, float)
    )
    assert scaled == found


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_agrees_with_scikit_learn(classes: int) -> None:
    logits_NC = draw(200, classes, seed=classes)
    labels_N = np.random.default_rng(0).integers(0, classes, 200)
    predicted_N = logits_NC.argmax(axis=1)
    found = classification_metrics(logits_NC, labels_N.astype(float))
    average = "binary" if classes == 2 else "macro"
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels_N, predicted_N),
            "f1": sk.f1_score(labels_N, predicted_N, average=average),
            "matthews": sk.matthews_corrcoef(labels_N, predicted_N),
            "accuracy_f1": (
                sk.accuracy_score(labels_N, predicted_N)
                + sk.f1_score(labels_N, predicted_N, average=average)
            )
            / 2,
        }
    )


def test_two_classes_by_hand() -> None:
    """tp 2, fp 1, fn 1, tn 3: F1 = 4/6, MCC = (2·3 − 1·1)/√(3·3·4·4), (5/7 + 4/6)/2 = 29/42."""
    predicted, expected = [1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0]
    found = classification_metrics(logits_for(predicted, 2), np.array(expected, float))
    assert found == pytest.approx(
        {"accuracy": 5 / 7, "f1": 4 / 6, "matthews": 5 / 12, "accuracy_f1": 29 / 42}
    )


def test_three_classes_by_hand() -> None:
    """Macro F1 is the mean of 1, 2/3 and 0; the class of most examples weighs no more."""
    predicted, expected = [0, 0, 1, 1], [0, 0, 1, 2]
    found = classification_metrics(logits_for(predicted, 3), np.array(expected, float))
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize(
    ("predicted", "expected", "f1"),
    [
        ([0, 0, 0], [0, 1, 0], 0.0),
        ([1, 1, 1], [0, 1, 0], 0.5),
        ([0, 0, 0], [0, 0, 0], 0.0),
        ([1, 1, 1], [1, 1, 1], 1.0),
        ([1, 1, 1], [0, 0, 0], 0.0),
        ([1], [1], 1.0),
    ],
)
def test_one_class_predicted(predicted: list[int], expected: list[int], f1: float) -> None:
    found = classification_metrics(logits_for(predicted, 2), np.array(expected, float))
    assert found["f1"] == pytest.approx(f1)
    assert found["matthews"] == 0.0
    assert found["accuracy"] == np.mean(np.array(predicted) == expected)


# --- regression --------------------------------------------------------------------------------


def test_regression_agrees_with_scipy() -> None:
    outputs_N1, labels_N = draw(50, 1, seed=0), draw(50, 1, seed=1)[:, 0]
    labels_N[:5] = labels_N[5]  # ties
    pearson = np.corrcoef(outputs_N1[:, 0], labels_N)[0, 1]
    spearman = np.corrcoef(stats.rankdata(outputs_N1), stats.rankdata(labels_N))[0, 1]
    assert regression_metrics(outputs_N1, labels_N) == pytest.approx(
        {
            "pearson": pearson,
            "spearman": spearman,
            "pearson_spearman": (pearson + spearman) / 2,
            "mse": sk.mean_squared_error(labels_N, outputs_N1[:, 0]),
        }
    )


def test_a_rising_line_correlates_fully_whatever_its_scale() -> None:
    labels_N = np.arange(6.0)
    found = regression_metrics(3 * labels_N[:, None] + 2, labels_N)
    assert (found["pearson"], found["spearman"]) == pytest.approx((1, 1))
    falling = regression_metrics(-np.exp(labels_N)[:, None], labels_N)
    assert falling["spearman"] == pytest.approx(-1)
    assert -1 < falling["pearson"] < 0


@pytest.mark.parametrize(
    ("outputs", "labels"), [([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([1], [2])]
)
def test_a_constant_side_correlates_with_nothing(outputs: list[float], labels: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = regression_metrics(np.array(outputs, float)[:, None], np.array(labels, float))
    assert (found["pearson"], found["spearman"], found["pearson_spearman"]) == (0.0, 0.0, 0.0)
    assert found["mse"] == pytest.approx(np.mean((np.array(outputs) - np.array(labels)) ** 2.0))


# --- losses ------------------------------------------------------------------------------------


def softmax(logits_NC: np.ndarray) -> np.ndarray:
    exponentials_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    shares_NC: np.ndarray = exponentials_NC / exponentials_NC.sum(axis=1, keepdims=True)
    return shares_NC


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("task", ["classification", "instruction", "summarization"])
def test_supervised_loss_of_classes_and_tokens(task: str, dtype: torch.dtype) -> None:
    logits_NC = torch.from_numpy(draw(7, COLUMNS[task], seed=2)).to(dtype)
    labels_N = labels_for(task, 7)
    loss_N = head_of(task).supervised(logits_NC, labels_N, reduction="none")
    probabilities_NC = softmax(logits_NC.double().numpy())
    expected_N = -np.log(probabilities_NC[np.arange(7), labels_N])
    assert loss_N.dtype == torch.float32
    assert loss_N.tolist() == pytest.approx(expected_N.tolist(), rel=1e-5)


def test_supervised_loss_of_numbers() -> None:
    outputs_N1 = torch.from_numpy(draw(7, 1, seed=3)).float()
    labels_N = torch.arange(7.0)
    loss_N = head_of("regression").supervised(outputs_N1, labels_N, reduction="none")
    expected_N = (outputs_N1.double().numpy()[:, 0] - np.arange(7)) ** 2
    assert loss_N.shape == (7,)
    assert loss_N.tolist() == pytest.approx(expected_N.tolist(), rel=1e-6)


def test_a_right_number_costs_nothing() -> None:
    labels_N = torch.tensor([0.5, -2.0])
    loss_N = head_of("regression").supervised(labels_N[:, None], labels_N, reduction="none")
    assert loss_N.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("task", TASK_KINDS)
def test_a_row_is_worth_what_it_is_worth_alone(task: str) -> None:
    """What is summed over rows may be summed in parts: workers, chunks, batches."""
    outputs_NC = torch.from_numpy(draw(6, COLUMNS[task], seed=8)).float()
    labels_N = labels_for(task, 6)
    together_N = head_of(task).supervised(outputs_NC, labels_N, reduction="none")
    for row in range(6):
        alone_1 = head_of(task).supervised(
            outputs_NC[row : row + 1], labels_N[row : row + 1], reduction="none"
        )
        torch.testing.assert_close(alone_1, together_N[row : row + 1])


@pytest.mark.parametrize("task", TASK_KINDS)
def test_gradients_reach_each_row_from_its_own_loss_alone(task: str) -> None:
    outputs_NC = torch.from_numpy(draw(5, COLUMNS[task], seed=9)).float().requires_grad_()
    loss_N = head_of(task).supervised(outputs_NC, labels_for(task, 5), reduction="none")
    (gradient_NC,) = torch.autograd.grad(loss_N[2], outputs_NC)
    moved_N = gradient_NC.abs().amax(dim=1) > 0
    assert moved_N.tolist() == [False, False, True, False, False]
