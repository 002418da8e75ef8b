"""Chunked scoring: G is the full graph's mean, to the last bit the same however it is computed."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from flexkd_core import OUTPUTS, ImportanceSum, drawn_rows
from flexkd_platform.artifacts import read_importance, read_moments, read_rows
from flexkd_platform.steps import ScoringPass, passes
from flexkd_platform.steps.partial_sum import PartialSum, pack

from ..altered import republish

RARE_ROW = 13
ROWS, CHUNK = 26, 8


@pytest.fixture(scope="module")
def trained(lab: Any) -> Any:
    """The lab with data and teacher ready."""
    plan = lab.plan()
    lab.alone(plan, "dataset")
    lab.alone(plan, "teacher")
    return lab


def copy_of(lab: Any, folder: Path) -> Any:
    """A lab with the same data and teacher, and no scores."""
    for kind in ("dataset", "teacher"):
        shutil.copytree(Path(lab.store.root) / "steps" / kind, folder / "steps" / kind)
    return type(lab)(lab.folder, type(lab.store)(lab.store.filesystem, str(folder), str(folder)))


def caches(plan: Any) -> tuple[Any, ...]:
    """The steps that keep the scored layer and the outputs."""
    found = tuple(step for step in plan.shared if step.kind == "cache")
    layer = {step.config.layer for step in plan.shared if step.kind == "score"}
    assert {step.config.holds for step in found} == {"outputs", *layer}
    return found


def score(lab: Any, *overrides: str, with_cache: bool = True, order: Any = sorted) -> Any:
    """Run the score step (and the cache's, in the same pass or not at all); the score step."""
    plan = lab.plan(*overrides)
    step = lab.step(plan, "score")
    for request in passes([step, *(caches(plan) if with_cache else ())]):
        scorer = request.open(lab.store)
        for chunk in order(request.missing(lab.store)):
            done = scorer(chunk)
            assert not done.error
        request.publish(lab.store)
    return step


class FullGraph:
    """The teacher run on one example at a time, its gradient taken through the whole graph."""

    def __init__(self, lab: Any) -> None:
        plan = lab.plan()
        folder = lab.store.folder(lab.step(plan, "teacher")) / "model"
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).double().eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.rows = read_rows(lab.store.folder(lab.step(plan, "dataset")), "train")

    def run(self, row: int, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`(hidden_TD, logits_C)` of an example, on one graph."""
        batch = self.tokenizer(
            self.rows["text"][row].as_py(), return_tensors="pt", truncation=True, max_length=12
        )
        output = self.model(**batch, output_hidden_states=True)
        return output.hidden_states[layer + 1], output.logits[0]

    def gradient(self, row: int, output: Callable[..., torch.Tensor], layer: int) -> torch.Tensor:
        """|∂F/∂h| at [CLS]."""
        hidden_1TD, logits_C = self.run(row, layer)
        value = output(logits_C, self.rows["label"][row].as_py())
        (found,) = torch.autograd.grad(value, hidden_1TD)
        return found[0, 0].abs()


OUTPUT: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "predicted_logit": lambda logits_C, label: logits_C.max(),
    "label_logit": lambda logits_C, label: logits_C[label],
    "label_logprob": lambda logits_C, label: logits_C[label] - logits_C.logsumexp(0),
    "loss": lambda logits_C, label: logits_C.logsumexp(0) - logits_C[label],
}


# --- the value ---------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUT)
@pytest.mark.parametrize("layer", [2, 0])
def test_the_gradient_is_that_of_the_full_graph(
    trained: Any, tmp_path: Path, output: str, layer: int
) -> None:
    lab = copy_of(trained, tmp_path)
    step = score(lab, f"score.output={output}", f"score.layer={layer}")
    found_D = read_importance(step, lab.store)
    full = FullGraph(lab)
    expected_D = torch.stack(
        [full.gradient(row, OUTPUT[output], layer) for row in range(ROWS)]
    ).mean(0)
    assert output in OUTPUTS
    assert found_D.dtype == np.float64
    assert expected_D.min() > 0
    np.testing.assert_allclose(found_D, expected_D.numpy(), rtol=1e-4, atol=1e-6)


def test_activations_and_the_cache_are_those_of_a_plain_forward(
    trained: Any, tmp_path: Path
) -> None:
    lab = copy_of(trained, tmp_path)
    step = score(lab, "score.kind=activation")
    full = FullGraph(lab)
    with torch.no_grad():
        runs = [full.run(row, 2) for row in range(ROWS)]
    hidden_ND = torch.stack([hidden_1TD[0, 0] for hidden_1TD, _ in runs])
    logits_NC = torch.stack([logits_C for _, logits_C in runs])
    np.testing.assert_allclose(
        read_importance(step, lab.store), hidden_ND.abs().mean(0).numpy(), rtol=1e-5, atol=1e-6
    )
    for holds, expected in ((2, hidden_ND), ("outputs", logits_NC)):
        folder = lab.store.folder(lab.cache(lab.plan(), holds))
        files = sorted(folder.glob("chunk-*.safetensors"))
        assert [file.name for file in files] == [f"chunk-{n:08d}.safetensors" for n in range(4)]
        cached = [load_file(file) for file in files]
        assert [set(chunk) for chunk in cached] == [{"rows"}] * 4
        assert [len(chunk["rows"]) for chunk in cached] == [8, 8, 8, 2]
        found = torch.cat([chunk["rows"] for chunk in cached])
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_random_importance_is_one_draw_of_its_seed(trained: Any, tmp_path: Path) -> None:
    lab = copy_of(trained, tmp_path)
    found_D = read_importance(score(lab, "score.kind=random", "score.seed=4"), lab.store)
    drawn_D = torch.rand(16, generator=torch.Generator().manual_seed(4))
    assert found_D.tolist() == drawn_D.double().tolist()


def test_integrated_gradients_of_a_head_that_bends(trained: Any, tmp_path: Path) -> None:
    """Completeness would need every position; the steps still change the score, and converge."""
    lab = copy_of(trained, tmp_path)
    scores = {
        steps: read_importance(
            score(lab, "score.kind=integrated_gradients", f"score.steps={steps}"), lab.store
        )
        for steps in (1, 16, 32)
    }
    near = np.abs(scores[16] - scores[32]).max()
    assert near < 0.1 * np.abs(scores[1] - scores[32]).max()


# --- how it is computed does not count ---------------------------------------------------------


def artifact(lab: Any, step: Any) -> dict[str, bytes]:
    folder = lab.store.folder(step)
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != "manifest.json"}


def test_the_order_of_the_chunks_does_not_change_a_bit(trained: Any, tmp_path: Path) -> None:
    labs = [copy_of(trained, tmp_path / name) for name in ("rising", "falling", "mixed")]
    orders = [sorted, lambda c: sorted(c, reverse=True), lambda c: [c[2], c[0], c[3], c[1]]]
    steps = [score(lab, order=order) for lab, order in zip(labs, orders, strict=True)]
    kept = [caches(lab.plan()) for lab in labs]
    for made in (steps, *zip(*kept, strict=True)):
        first, *others = [artifact(lab, step) for lab, step in zip(labs, made, strict=True)]
        assert first
        assert all(other == first for other in others)


def test_partial_sums_are_added_in_the_order_of_their_chunks(trained: Any, tmp_path: Path) -> None:
    """Scores from fp32 mostly add up exactly in fp64; these sums show which order was taken."""
    lab = copy_of(trained, tmp_path)
    step = lab.step(lab.plan(), "score")
    request = ScoringPass((step,), ())
    draw = np.random.default_rng(0)
    totals_KD = draw.normal(size=(4, 16)) * 10.0 ** draw.integers(-12, 12, size=(4, 16))
    for chunk in (2, 0, 3, 1):
        partial = PartialSum(ImportanceSum(totals_KD[chunk], 6 + (chunk == 0)))
        content = pack({chunk: partial})
        name = request.layout(lab.store).name(chunk, "safetensors")
        lab.store.write_part(step, name, content)
    request.publish(lab.store)

    def mean_D(order: tuple[int, ...]) -> Any:
        total_D = totals_KD[order[0]]
        for chunk in order[1:]:
            total_D = total_D + totals_KD[chunk]
        return (total_D / 25).tolist()

    expected = mean_D((0, 1, 2, 3))
    others = {order for order in itertools.permutations(range(4)) if set(order[:2]) != {0, 1}}
    assert all(mean_D(order) != expected for order in others)
    assert read_importance(step, lab.store).tolist() == expected
    assert lab.store.manifest(step).summary["examples"] == 25


def test_a_pass_that_was_cut_off_goes_on_to_the_same_bytes(trained: Any, tmp_path: Path) -> None:
    whole, cut = copy_of(trained, tmp_path / "whole"), copy_of(trained, tmp_path / "cut")
    expected = score(whole)
    plan = cut.plan()
    request = ScoringPass((cut.step(plan, "score"),), caches(plan))
    scorer = request.open(cut.store, worker=7)
    assert request.missing(cut.store) == [0, 1, 2, 3]
    done = [scorer(chunk) for chunk in (2, 0)]
    assert [(d.chunk, d.examples, d.worker, d.error) for d in done] == [
        (2, 8, 7, ""),
        (0, 8, 7, ""),
    ]
    # One of a chunk's three parts is lost: the chunk is missing again.
    cut.store.filesystem.delete_file(
        f"{cut.store.root}/parts/cache-{request.caches[1].hash}/chunk-00000002.safetensors"
    )
    assert request.missing(cut.store) == [1, 2, 3]
    step = score(cut)
    assert artifact(cut, step) == artifact(whole, expected)
    for cache in request.caches:
        assert artifact(cut, cache) == artifact(whole, cache)
        assert cut.store.parts(cache) == set()
    assert cut.store.parts(step) == set()


def test_an_unfinished_pass_is_not_published(trained: Any, tmp_path: Path) -> None:
    lab = copy_of(trained, tmp_path)
    plan = lab.plan()
    request = ScoringPass((lab.step(plan, "score"),), caches(plan))
    scorer = request.open(lab.store)
    for chunk in (0, 1, 3):
        scorer(chunk)
    with pytest.raises(RuntimeError, match=r"chunks \[2\] of the pass are not done"):
        request.publish(lab.store)
    assert not any(lab.store.has(step) for step in request.steps)


def test_publishing_twice_is_publishing_once(trained: Any, tmp_path: Path) -> None:
    lab = copy_of(trained, tmp_path)
    step = score(lab)
    before = lab.store.manifest(step)
    plan = lab.plan()
    ScoringPass((step,), caches(plan)).publish(lab.store)
    assert lab.store.manifest(step) == before


@pytest.mark.parametrize("layer", ["last", "0"])
def test_score_and_cache_are_the_same_alone_and_together(
    trained: Any, tmp_path: Path, layer: str
) -> None:
    together, alone = copy_of(trained, tmp_path / "both"), copy_of(trained, tmp_path / "alone")
    override = f"score.layer={layer}"
    step = score(together, override)
    score(alone, override, with_cache=False)
    assert artifact(together, step) == artifact(alone, step)
    for cache in caches(alone.plan(override)):
        alone.chunks(ScoringPass((), (cache,)))
        assert artifact(together, cache) == artifact(alone, cache)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("samples", [1, 8, 11, 25, 26])
def test_samples_are_drawn_by_the_seed(
    trained: Any, tmp_path: Path, samples: int, seed: int
) -> None:
    together, alone = copy_of(trained, tmp_path / "both"), copy_of(trained, tmp_path / "alone")
    overrides = (f"score.samples={samples}", f"score.seed={seed}")
    step = score(together, *overrides)
    score(alone, *overrides, with_cache=False)
    full = FullGraph(together)
    output = OUTPUT["predicted_logit"]
    drawn = drawn_rows(ROWS, samples, seed).tolist()
    assert len(set(drawn)) == samples
    expected_D = torch.stack([full.gradient(row, output, 2) for row in drawn]).mean(0)
    np.testing.assert_allclose(
        read_importance(step, together.store), expected_D.numpy(), rtol=1e-4, atol=1e-6
    )
    assert together.store.manifest(step).summary["examples"] == samples
    assert artifact(alone, step) == artifact(together, step)


def test_drawn_samples_are_a_pass_of_their_own_that_runs_no_other_example(
    trained: Any, tmp_path: Path
) -> None:
    lab = copy_of(trained, tmp_path)
    plan = lab.plan("score.samples=9")
    step, kept = lab.step(plan, "score"), caches(plan)
    alone, shared = passes([step, *kept])
    assert (alone.steps, shared.steps) == ((step,), kept)
    scorer = alone.open(lab.store)
    done = [scorer(chunk) for chunk in alone.missing(lab.store)]
    assert [each.examples for each in done] == [8, 1]


def test_every_example_is_every_example_for_any_seed(trained: Any) -> None:
    plain = trained.step(trained.plan(), "score")
    for overrides in (("score.seed=5",), (f"score.samples={ROWS}", "score.seed=7")):
        assert trained.step(trained.plan(*overrides), "score").hash == plain.hash
    drawn = {
        trained.step(trained.plan("score.samples=9", f"score.seed={n}"), "score").hash
        for n in range(3)
    }
    assert len(drawn) == 3


# --- the moments -------------------------------------------------------------------------------


def moments_of(full: FullGraph, rows: Sequence[int]) -> tuple[Any, Any]:
    """E[g gᵀ] and Cov[h] at [CLS], by a loop over examples."""
    gradients, features = [], []
    for row in rows:
        hidden_1TD, logits_C = full.run(row, 2)
        (found,) = torch.autograd.grad(logits_C.max(), hidden_1TD)
        gradients.append(found[0, 0].numpy())
        features.append(hidden_1TD[0, 0].detach().numpy())
    moment_DD = sum(np.outer(g, g) for g in gradients) / len(rows)
    return moment_DD, np.cov(np.array(features).T, bias=True)


def test_moments_are_those_of_a_loop_over_examples_in_all_and_in_halves(
    trained: Any, tmp_path: Path
) -> None:
    lab = copy_of(trained, tmp_path)
    step = score(lab)
    found, full = read_moments(step, lab.store), FullGraph(lab)
    even = [row for row in range(ROWS) if row // CHUNK % 2 == 0]
    odd = [row for row in range(ROWS) if row // CHUNK % 2]
    for name, rows in (("", range(ROWS)), ("_even", even), ("_odd", odd)):
        moment_DD, covariance_DD = moments_of(full, rows)
        scale = np.abs(moment_DD).max()
        np.testing.assert_allclose(found[f"M{name}"], moment_DD, rtol=1e-3, atol=1e-4 * scale)
        np.testing.assert_allclose(found[f"covariance{name}"], covariance_DD, rtol=1e-3, atol=1e-5)
    geometry = lab.store.manifest(step).summary["geometry"]
    assert (geometry["units"], geometry["rows"]) == (16, ROWS)
    halves = geometry["effective_dimension_halves"]
    assert geometry["effective_dimension_error"] == abs(halves[0] - halves[1]) / 2
    values_D = np.linalg.eigvalsh(moments_of(full, range(ROWS))[0])[::-1]
    held_D = np.cumsum(values_D) / values_D.sum()
    assert geometry["effective_dimension"] == 1 + int((held_D < 0.95).sum())


def test_contribution_is_the_share_of_the_outputs_variance(trained: Any, tmp_path: Path) -> None:
    lab = copy_of(trained, tmp_path)
    found_D = read_importance(score(lab, "score.kind=contribution"), lab.store)
    moment_DD, covariance_DD = moments_of(FullGraph(lab), range(ROWS))
    expected_D = [moment_DD[unit] @ covariance_DD[:, unit] for unit in range(16)]
    scale = np.abs(expected_D).max()
    np.testing.assert_allclose(found_D, expected_D, rtol=1e-3, atol=1e-4 * scale)


def test_gradient_activation_is_the_mean_product(trained: Any, tmp_path: Path) -> None:
    lab = copy_of(trained, tmp_path)
    found_D = read_importance(score(lab, "score.kind=gradient_activation"), lab.store)
    full = FullGraph(lab)
    products = []
    for row in range(ROWS):
        hidden_1TD, logits_C = full.run(row, 2)
        (gradient,) = torch.autograd.grad(logits_C.max(), hidden_1TD)
        products.append((gradient[0, 0] * hidden_1TD[0, 0]).abs().detach())
    np.testing.assert_allclose(found_D, torch.stack(products).mean(0), rtol=1e-4, atol=1e-6)


def test_the_digest_is_that_of_the_published_vector(trained: Any, tmp_path: Path) -> None:
    lab = copy_of(trained, tmp_path)
    one, other = score(lab), score(lab, "score.kind=activation", with_cache=False)
    digests = {lab.store.manifest(step).summary["digest"] for step in (one, other)}
    assert len(digests) == 2
    raw = read_importance(one, lab.store).astype("<f8").tobytes()
    assert lab.store.manifest(one).summary["digest"] == hashlib.sha256(raw).hexdigest()


# --- passes ------------------------------------------------------------------------------------


def test_scores_and_caches_share_a_pass_where_they_read_the_same(lab: Any) -> None:
    plan = lab.plan("sweep.axes={score.kind: [gradient, random], score.layer: [last, 0]}")
    scores = [s for s in plan.shared if s.kind == "score"]
    kept = [s for s in plan.shared if s.kind == "cache"]
    assert (len(scores), len(kept)) == (4, 3)
    (request,) = passes([s for s in plan.shared if s.kind in ("score", "cache")])
    assert sorted(s.hash for s in request.steps) == sorted(s.hash for s in (*scores, *kept))
    assert [s.kind for s in request.steps] == ["score"] * 4 + ["cache"] * 3
    assert {s.config.layer for s in request.scores} == {2, 0}
    assert {s.config.holds for s in request.caches} == {2, 0, "outputs"}
    assert request.chunk == CHUNK
    assert request.teacher.kind == "teacher"
    assert request.dataset.kind == "dataset"
    assert [p.steps for p in passes(kept)] == [tuple(kept)]
    assert passes([]) == []


def test_another_chunk_or_teacher_is_another_pass(lab: Any) -> None:
    score_step = lab.step(lab.plan(), "score")
    for override in ("score.chunk=4", "teacher.finetune.seed=1"):
        kept = caches(lab.plan(override))
        assert [p.steps for p in passes([score_step, *kept])] == [(score_step,), kept]


def test_scores_of_a_shared_pass_are_those_of_passes_of_their_own(
    trained: Any, tmp_path: Path
) -> None:
    """Five kinds at two layers: none of the forwards that one makes touches another's."""
    kinds = ("gradient", "activation", "integrated_gradients", "random", "contribution")
    axes = f"sweep.axes={{score.kind: [{', '.join(kinds)}], score.layer: [last, 0]}}"
    together, alone = copy_of(trained, tmp_path / "both"), copy_of(trained, tmp_path / "alone")
    plan = together.plan(axes)
    steps = [s for s in plan.shared if s.kind in ("score", "cache")]
    (request,) = passes(steps)
    together.chunks(request)
    for step in steps:
        score_of = step.kind == "score"
        alone.chunks(ScoringPass((step,) if score_of else (), () if score_of else (step,)))
        assert artifact(together, step) == artifact(alone, step)


# --- a teacher that overflows ------------------------------------------------------------------


def poison(lab: Any, word: str) -> None:
    """Make the published teacher's embedding of one word NaN."""
    teacher = lab.step(lab.plan(), "teacher")
    folder = lab.store.folder(teacher) / "model"
    place = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(word)
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][place] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    republish(lab.store, teacher)


@pytest.mark.parametrize("kind", ["gradient", "activation"])
def test_nan_names_the_example_and_keeps_nothing_of_its_chunk(
    trained: Any, tmp_path: Path, kind: str
) -> None:
    lab = copy_of(trained, tmp_path)
    poison(lab, "once")
    plan = lab.plan(f"score.kind={kind}")
    request = ScoringPass((lab.step(plan, "score"),), caches(plan))
    scorer = request.open(lab.store, worker=1)
    found = [scorer(chunk) for chunk in request.missing(lab.store)]
    text = read_rows(lab.store.folder(request.dataset), "train")["text"][RARE_ROW].as_py()
    assert "once" in text
    assert [d.error for d in found] == [
        "",
        f"the teacher's outputs or hidden states are NaN or infinite on training example "
        f"{RARE_ROW} ({text!r})",
        "",
        "",
    ]
    assert found[1].examples == 0
    assert request.missing(lab.store) == [1]
    for step in request.steps:
        assert len(lab.store.parts(step)) == 3
