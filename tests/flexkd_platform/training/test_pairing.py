"""Pairs of units by their features: SciPy's assignment, origins, signs, repetition, resumption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import pearsonr

from flexkd_core import drawn_rows
from flexkd_platform.artifacts import (
    PAIRS,
    read_directions,
    read_pairs,
    read_unit_weights,
    read_units,
)
from flexkd_platform.training.before_training import sample_features
from flexkd_platform.training.feature_terms import FeatureTerm
from flexkd_platform.training.pairing import SAMPLE

from ..lab import train_student, training_of


def trial_of(lab: Any, *overrides: str, **settings: Any) -> Any:
    chosen = ", ".join(f"{key}: {value}" for key, value in {"kind": "flexkd", **settings}.items())
    return lab.trial(f"{{{chosen}}}", *overrides)


def correlations(training: Any, trial: Any) -> tuple[Any, Any]:
    """(student units, candidates) by SciPy, and the term."""
    data = training.data
    rows = drawn_rows(len(data), min(SAMPLE, len(data)), trial.seed).tolist()
    ((student_NS, teacher_NT),) = sample_features(
        training.module, data, training.objective.targets, training.terms, rows, torch.device("cpu")
    )
    (term,) = training.terms
    candidates_NC = term.candidates(teacher_NT)
    found = [
        [pearsonr(s_N, t_N).statistic for t_N in candidates_NC.T.numpy().astype(float)]
        for s_N in student_NS.T.numpy().astype(float)
    ]
    return np.array(found), term


def test_matched_units_are_those_of_scipys_assignment(lab: Any) -> None:
    trial = trial_of(lab, pairing="matched")
    training = training_of(trial.distill, lab.store)
    correlation_ST, term = correlations(training, trial)
    (selection,) = trial.distill.config.selections
    units = read_units(selection, lab.store)
    rows, columns = linear_sum_assignment(-correlation_ST[:, units])
    assert term.units.tolist() == [units[column] for column in columns[np.argsort(rows)]]
    assert term.units.tolist() != units
    assert sorted(term.units.tolist()) == sorted(units)


@pytest.mark.parametrize("kept", ["even", "first"])
def test_units_stay_with_the_unit_they_were_cut_from(lab: Any, kept: str) -> None:
    init = f"student.init={{kind: sliced, layers: 2, hidden_size: 8, units: {kept}}}"
    trial = trial_of(lab, init, pairing="origin")
    training = training_of(trial.distill, lab.store)
    (term,) = training.terms
    origin = list(range(0, 16, 2)) if kept == "even" else list(range(8))
    units = read_units(trial.distill.config.selections[0], lab.store)
    paired = term.units.tolist()
    assert sorted(paired) == sorted(units)
    shared = [place for place, unit in enumerate(origin) if unit in units]
    assert shared
    assert [paired[place] for place in shared] == [origin[place] for place in shared]


def test_an_aligned_students_origin_is_its_rank(lab: Any) -> None:
    init = "student.init={kind: aligned, layers: 2, hidden_size: 8}"
    trial = trial_of(lab, init, pairing="origin")
    (term,) = training_of(trial.distill, lab.store).terms
    assert term.units.tolist() == read_units(trial.distill.config.selections[0], lab.store)


def test_selected_at_their_origin_they_are_paired_by_rank(lab: Any) -> None:
    trial = trial_of(lab, select="origin")
    (term,) = training_of(trial.distill, lab.store).terms
    assert term.units.tolist() == list(range(0, 16, 2))


def test_directions_are_matched_with_their_signs(lab: Any) -> None:
    trial = trial_of(lab, pairing="matched", target="directions")
    training = training_of(trial.distill, lab.store)
    correlation_SC, term = correlations(training, trial)
    rows, columns = linear_sum_assignment(-np.abs(correlation_SC))
    assert term.units.tolist() == columns[np.argsort(rows)].tolist()
    assert term.signs_S.tolist() == np.sign(correlation_SC[range(8), columns]).tolist()
    directions_TC = read_directions(trial.distill.config.selections[0], lab.store)
    teacher_NT = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    expected = (teacher_NT.numpy() @ directions_TC)[:, columns] * term.signs_S.numpy()
    np.testing.assert_allclose(term.matched(teacher_NT).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("target", ["units", "directions"])
def test_the_pairs_of_a_finished_student_are_published(lab: Any, target: str) -> None:
    trial = trial_of(lab, pairing="matched", target=target)
    (pairs,) = read_pairs(lab.run(trial) / PAIRS)
    (term,) = training_of(trial.distill, lab.store).terms  # paired before the first step, and kept
    assert list(pairs.units) == term.units.tolist()
    assert list(pairs.signs) == ([] if target == "units" else term.signs_S.tolist())
    assert (pairs.student, pairs.teacher) == (term.student, term.teacher)
    assert pairs.target == target


def test_a_method_without_pairs_publishes_none(lab: Any) -> None:
    assert not (lab.run(lab.trial("{kind: projector}")) / PAIRS).exists()


def test_weights_follow_the_units(lab: Any) -> None:
    trial = trial_of(lab, pairing="matched", weights="importance")
    (term,) = training_of(trial.distill, lab.store).terms
    by_unit = read_unit_weights(trial.distill.config.selections[0], lab.store)
    weights_S = term.loss_arguments(torch.zeros(1, 8, dtype=torch.float64))["weights_S"]
    assert weights_S.tolist() == [by_unit[unit] for unit in term.units.tolist()]
    plain = trial_of(lab, pairing="matched")
    (uniform,) = training_of(plain.distill, lab.store).terms
    assert uniform.loss_arguments(torch.zeros(1, 8)) == {}


def test_directions_are_weighted_by_their_spectrum_unless_told_otherwise(lab: Any) -> None:
    trial = trial_of(lab, target="directions")
    (term,) = training_of(trial.distill, lab.store).terms
    assert term.weights is not None
    assert (term.weights.diff() <= 0).all()
    assert trial.distill.identity["method"]["weights"] == "spectrum"
    uniform = trial_of(lab, target="directions", weights="uniform")
    (equal,) = training_of(uniform.distill, lab.store).terms
    assert equal.weights is None
    assert "weights" not in uniform.distill.identity["method"]


def test_pairs_are_matched_again_every_k_steps(lab: Any) -> None:
    trial = trial_of(lab, pairing="matched", rematch=3)
    training = training_of(trial.distill, lab.store)
    pairing = training.before_step
    assert pairing is not None
    done: list[int] = []
    original = pairing.pair
    pairing.pair = lambda: (done.append(len(training.state.log)), original())  # type: ignore[method-assign]
    assert len(list(training.run())) == 8
    assert done == [3, 6]
    once = training_of(trial_of(lab, pairing="matched").distill, lab.store)
    assert once.before_step is not None
    assert once.before_step._selection.rematch is None


def test_a_matched_training_repeats_itself(fresh: Any) -> None:
    students = []
    for _ in range(2):
        lab = fresh()
        trial = trial_of(lab, pairing="matched", normalise="gradient")
        list(train_student(trial.distill, lab.store))
        folder = lab.store.folder(trial.distill)
        students.append((folder / "model" / "model.safetensors").read_bytes())
    assert students[0] == students[1]


def test_the_state_of_a_term_is_kept() -> None:
    term = FeatureTerm("last", "last", units=torch.tensor([3, 1]))
    term.signs_S = torch.tensor([1.0, -1.0])
    term.weights = torch.tensor([1e-30, 2.0, 0.5, 7.0], dtype=torch.float64)
    other = FeatureTerm("last", "last")
    other.restore(term.state())
    assert other.units is not None
    assert other.units.tolist() == [3, 1]
    assert other.signs_S is not None
    assert other.signs_S.tolist() == [1.0, -1.0]
    assert other.weights is not None
    assert other.weights.tolist() == term.weights.tolist()
    empty = FeatureTerm("last", "last")
    empty.restore(FeatureTerm("last", "last").state())
    assert (empty.units, empty.signs_S, empty.weights) == (None, None, None)
    assert empty.loss_arguments(torch.zeros(1, 2)) == {}


@pytest.mark.parametrize("pairing", ["matched", "origin"])
def test_texts_are_paired_by_their_tokens(world: Any, pairing: str) -> None:
    lab = world("gpt2", "instruction")
    trial = trial_of(lab, pairing=pairing)
    training = training_of(trial.distill, lab.store)
    units = read_units(trial.distill.config.selections[0], lab.store)
    (term,) = training.terms
    assert sorted(term.units.tolist()) == sorted(units)
    assert term.units.tolist() != units
