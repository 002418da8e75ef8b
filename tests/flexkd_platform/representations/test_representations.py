"""CKA, C_m and activations of a finished student against the same in fp64 NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from flexkd_platform.artifacts import PAIRS, read_rows
from flexkd_platform.plan import LabelReading, ResponseReading, StackShape
from flexkd_platform.representations import (
    Activations,
    ActivationsRequest,
    Correlations,
    CorrelationsRequest,
    Failed,
    Request,
    Similarity,
    SimilarityRequest,
    Subject,
    Waiting,
    Worker,
    compute,
    forward,
    subject_of,
)
from flexkd_platform.representations.compute import cached
from flexkd_platform.representations.models import layers_of, same_rows
from flexkd_platform.results import JobFiles
from flexkd_platform.spec import Problem, SpecError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def trial_of(job: JobFiles, method: str, seed: int = 1) -> str:
    (found,) = (
        trial["hash"]
        for trial in job.results["trials"]
        if (trial["method"], trial["seed"]) == (method, seed)
    )
    return str(found)


def hidden_states(job: JobFiles, kind: str, digest: str, texts: list[str]) -> list[np.ndarray]:
    """The first token's states after each block: by transformers alone, one text at a time."""
    folder = job.store.folder_at(kind, digest) / "model"
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval().double()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = [
            model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            for text in texts
        ]
    return [
        np.stack([of[layer][0, 0].numpy() for of in states]) for layer in range(1, len(states[0]))
    ]


def texts_of(job: JobFiles, subject: Subject) -> list[str]:
    folder = job.store.folder_at("dataset", subject.dataset)
    found: list[str] = read_rows(folder, "validation")["text"].to_pylist()
    return found


def cka(s: np.ndarray, t: np.ndarray) -> float:
    """The definition of Kornblith et al. by Gram matrices."""
    centre = np.eye(len(s)) - 1 / len(s)
    k, m = centre @ s @ s.T @ centre, centre @ t @ t.T @ centre
    return float(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


def test_cka_of_all_layers_is_that_of_its_definition(job: JobFiles) -> None:
    subject = subject_of(job, trial_of(job, "flexkd"))
    found = compute(job, SimilarityRequest(subject))
    assert isinstance(found, Similarity)
    assert (found.student_layers, found.teacher_layers) == ((0, 1), (0, 1, 2))
    texts = texts_of(job, subject)
    assert (found.rows, found.examples) == ((12,), 12)  # all that there are
    ours = hidden_states(job, "distill", subject.student, texts)
    theirs = hidden_states(job, "teacher", subject.teacher, texts)
    expected = [[cka(one, other) for other in theirs] for one in ours]
    np.testing.assert_allclose(found.cka, expected, rtol=1e-4)


def test_fewer_examples_are_drawn_alike_each_time(job: JobFiles, cache: Path) -> None:
    request = SimilarityRequest(subject_of(job, trial_of(job, "ft")), examples=5)
    first = compute(job, request)
    assert isinstance(first, Similarity)
    assert first.examples == 5
    (file,) = (cache / "representations").iterdir()
    file.unlink()
    assert compute(job, request) == first


def test_correlations_are_those_of_the_published_pairs(job: JobFiles) -> None:
    subject = subject_of(job, trial_of(job, "flexkd", 2))
    found = compute(job, CorrelationsRequest(subject))
    assert isinstance(found, Correlations)
    (layer,) = found.layers
    (pairs,) = json.loads(job.store.file_at("distill", subject.student, PAIRS).read_text())
    assert list(layer.matched) == pairs["units"]
    texts = texts_of(job, subject)
    ours = hidden_states(job, "distill", subject.student, texts)[int(layer.student)]
    theirs = hidden_states(job, "teacher", subject.teacher, texts)[int(layer.teacher)]
    expected = [
        np.corrcoef(ours[:, place], theirs[:, unit])[0, 1]
        for place, unit in enumerate(layer.matched)
    ]
    np.testing.assert_allclose(layer.correlation, expected, atol=1e-4)


def test_a_student_without_pairs_has_no_correlations(job: JobFiles) -> None:
    subject = subject_of(job, trial_of(job, "ft"))
    with pytest.raises(SpecError, match="no stored pairs"):
        compute(job, CorrelationsRequest(subject))


def test_models_that_read_other_tokens_are_not_compared() -> None:
    def loaded(ids: list[list[int]], reading: Any) -> Any:
        batch = SimpleNamespace(inputs={"input_ids": torch.tensor(ids)})
        examples = SimpleNamespace(batch=lambda rows: batch)
        return SimpleNamespace(reading=reading, encoded=lambda table: examples)

    texts = ResponseReading("instruction", 9, 4, 4, "none")
    same_rows(loaded([[1, 2]], texts), loaded([[1, 2]], texts), [0])
    for other in ([[1, 3]], [[1, 2, 3]]):
        with pytest.raises(SpecError, match="different tokens"):
            same_rows(loaded([[1, 2]], texts), loaded(other, texts), [0])
    labels = LabelReading("classification", 2, 8, "right")  # a row is an example
    same_rows(loaded([[1, 2]], labels), loaded([[7]], labels), [0])


def test_an_encoder_is_compared_with_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = tuple(StackShape(name, 2, final_norm=False) for name in ("encoder", "decoder"))
    layers = layers_of(stacks)
    assert layers == ("encoder.0", "encoder.1", "decoder.0", "decoder.1")
    draw = torch.Generator().manual_seed(0)
    rows = {"encoder": 9, "decoder": 4}
    features = [torch.randn(rows[str(one).split(".")[0]], 3, generator=draw) for one in layers]
    model = SimpleNamespace(layers=lambda: layers, encoded=lambda table: None)
    monkeypatch.setattr(forward, "_pair", lambda job, subject: (model, model))
    monkeypatch.setattr(forward, "drawn_examples", lambda job, subject, count: [0] * 5)
    monkeypatch.setattr(forward, "same_rows", lambda *given: None)
    monkeypatch.setattr(forward, "_features", lambda loaded, examples, wanted: features)
    found = forward.answer(None, SimilarityRequest(Subject("s", "t", "d")))  # type: ignore[arg-type]
    assert isinstance(found, Similarity)
    assert found.rows == (9, 4)
    for row, one in zip(found.cka, layers, strict=True):
        for cell, other in zip(row, layers, strict=True):
            assert (cell is None) == (str(one)[:7] != str(other)[:7])
            assert one != other or cell == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("side", "kind"), [("teacher", "teacher"), ("student", "distill")])
def test_activations_are_the_magnitudes_of_every_token(job: JobFiles, side: Any, kind: str) -> None:
    subject = subject_of(job, trial_of(job, "flexkd"))
    found = compute(job, ActivationsRequest(subject, side, row=3, layer=1))
    assert isinstance(found, Activations)
    folder = job.store.folder_at(kind, getattr(subject, side)) / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(texts_of(job, subject)[3], return_tensors="pt")
    assert list(found.tokens) == tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist())
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        states = model(**encoded, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(found.magnitudes, states[2][0].abs().numpy(), rtol=2e-3, atol=1e-6)
    last = compute(job, ActivationsRequest(subject, side, row=3))
    assert isinstance(last, Activations)
    assert last.layer == last.layers[-1]


@pytest.mark.parametrize(
    ("change", "message"), [({"row": 99}, "no example 99"), ({"layer": 7}, "no layer 7")]
)
def test_what_there_is_not_is_refused(job: JobFiles, change: dict[str, Any], message: str) -> None:
    subject = subject_of(job, trial_of(job, "flexkd"))
    with pytest.raises(SpecError, match=message):
        compute(job, ActivationsRequest(subject, "teacher", **change))


def test_an_answer_is_computed_once_and_a_damaged_one_again(job: JobFiles, cache: Path) -> None:
    request = ActivationsRequest(subject_of(job, trial_of(job, "ft")), "student")
    assert cached(request) is None
    first = compute(job, request)
    assert cached(request) == first
    (file,) = (cache / "representations").iterdir()
    file.write_text(file.read_text()[:50])
    assert cached(request) is None
    assert compute(job, request) == first


def test_who_asks_waits_and_then_has_the_answer(job: JobFiles) -> None:
    import threading

    begun, go_on = threading.Event(), threading.Event()

    def slowly(files: JobFiles, request: Request) -> Any:
        begun.set()
        go_on.wait()
        if request.examples == 3:  # type: ignore[union-attr]
            raise SpecError([Problem("", "it has no head")])
        return Similarity((0,), (0,), ((1.0,),), (2,), 2)

    subject = subject_of(job, trial_of(job, "ft"))
    requests = [SimilarityRequest(subject, examples) for examples in (2, 3)]
    worker = Worker(slowly)
    assert worker.ask(job, requests[0]) == Waiting(0)
    begun.wait()
    assert worker.ask(job, requests[1]) == Waiting(1)
    assert worker.ask(job, requests[0]) == Waiting(0)
    go_on.set()
    worker.finish()
    assert isinstance(worker.ask(job, requests[0]), Similarity)
    failed = worker.ask(job, requests[1])
    assert isinstance(failed, Failed)
    assert failed.problems[0].message == "it has no head"
    assert worker.ask(job, requests[1]) == Waiting(0)  # tried again
