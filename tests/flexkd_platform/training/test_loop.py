"""The training loop: its schedule, its batches, that it descends, and that it repeats itself."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from flexkd_platform.plan import TrainingRecipe
from flexkd_platform.tasks import LabelExamples
from flexkd_platform.tracking import Progress
from flexkd_platform.training import SoloWorker, torch_threads
from flexkd_platform.training import metrics as measure
from flexkd_platform.training.hidden_states import LOGITS, HiddenStateModel
from flexkd_platform.training.loop import POOL_BATCHES, batches, train
from flexkd_platform.training.micro_batch import MicroBatchOutputs, Objective
from flexkd_platform.training.worker import Worker

RECIPE = TrainingRecipe(
    epochs=3,
    batch_size=8,
    learning_rate=0.05,
    weight_decay=0.01,
    warmup_share=0.1,
    max_grad_norm=1.0,
    seed=3,
)

SHARES = st.floats(0, 0.99)


# --- schedule ----------------------------------------------------------------------------------


@given(SHARES, st.integers(1, 300))
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(share: float, total: int) -> None:
    recipe = replace(RECIPE, warmup_share=share)
    rates = [recipe.rate(step, total) for step in range(total)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert all(rate > 0 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    # The first step after the last one would have none.
    assert recipe.rate(total, total) == 0
    assert sum(rate < recipe.learning_rate for rate in rates[:peak]) <= round(share * total)


def test_the_rate_by_hand() -> None:
    recipe = replace(RECIPE, learning_rate=1.0, warmup_share=0.4)
    rates = [recipe.rate(step, 5) for step in range(5)]
    assert rates == pytest.approx([1 / 2, 1, 1, 2 / 3, 1 / 3])
    plain = replace(recipe, warmup_share=0)
    assert [plain.rate(step, 4) for step in range(4)] == pytest.approx([1, 3 / 4, 1 / 2, 1 / 4])


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_steps_are_epochs_times_batches(batch: int) -> None:
    """Counted exactly: 1.1 epochs of 10 batches are 11 steps, though 1.1 × 10 > 11 in floats."""
    for tenths, examples in itertools.product(range(1, 40), range(1, 400, 7)):
        recipe = replace(RECIPE, epochs=tenths / 10, batch_size=batch)
        expected = math.ceil(Fraction(tenths, 10) * math.ceil(Fraction(examples, batch)))
        assert recipe.total_steps(examples) == expected


def test_there_is_one_step_at_least() -> None:
    assert replace(RECIPE, epochs=1e-9).total_steps(5) == 1


# --- batches -----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=90),
    st.integers(1, 6),
    st.integers(0, 5),
    st.sampled_from(["bucketed", "random"]),
)
def test_every_epoch_has_every_row_once(
    lengths: list[int], size: int, seed: int, how: Literal["bucketed", "random"]
) -> None:
    recipe = replace(RECIPE, batch_size=size, seed=seed, batches=how)
    per_epoch = -(-len(lengths) // size)
    stream = batches(lengths, recipe)
    for _ in range(2):
        epoch = [next(stream) for _ in range(per_epoch)]
        assert Counter(row for rows in epoch for row in rows) == Counter(range(len(lengths)))
        # All batches are full, but for one where the size does not divide the rows.
        last = len(lengths) - size * (per_epoch - 1)
        assert sorted(map(len, epoch)) == [last, *[size] * (per_epoch - 1)]


@given(st.lists(st.integers(1, 99), min_size=1, max_size=4 * POOL_BATCHES))
def test_rows_of_like_length_meet(lengths: list[int]) -> None:
    """Within a pool no batch's lengths reach into another's: padding goes to the next length."""
    stream = batches(lengths, replace(RECIPE, batch_size=4))
    epoch = [sorted(lengths[row] for row in next(stream)) for _ in range(-(-len(lengths) // 4))]
    spans = sorted((batch[0], batch[-1]) for batch in epoch)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_random_batches_mix_lengths_as_a_draw_without_replacement() -> None:
    """Half of 960 rows are long, sorted by length: of 32 rows hypergeometrically many are.

    The variance is 32 · ¼ · (960 − 32) / 959 = 7.74. Over 900 batches its estimate has a relative
    standard deviation of about 5 %: a band of ±25 % is missed by chance less than once in 10⁶.
    """
    lengths = [1] * 480 + [9] * 480

    def variance(how: Literal["bucketed", "random"]) -> float:
        stream = batches(lengths, replace(RECIPE, batch_size=32, batches=how))
        long = [sum(lengths[row] == 9 for row in next(stream)) for _ in range(900)]
        assert sum(long) == 900 * 16  # 30 whole epochs
        return sum((count - 16) ** 2 for count in long) / 900

    expected = 32 / 4 * (960 - 32) / 959
    assert variance("random") == pytest.approx(expected, rel=0.25)
    assert variance("bucketed") > 20 * expected  # nearly every batch is of one length


@pytest.mark.parametrize("how", ["bucketed", "random"])
def test_batches_depend_on_their_seed_alone(how: Literal["bucketed", "random"]) -> None:
    lengths = [1 + row % 7 for row in range(40)]

    def first(seed: int) -> list[list[int]]:
        stream = batches(lengths, replace(RECIPE, seed=seed, batches=how))
        return [next(stream) for _ in range(10)]

    torch.manual_seed(1)
    once = first(0)
    torch.manual_seed(2)
    assert first(0) == once
    assert first(1) != once
    assert once[:5] != once[5:]  # shuffled anew in the second epoch


def test_drawing_batches_leaves_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    next(batches([1] * 40, RECIPE))
    assert torch.equal(torch.get_rng_state(), before)


# --- training ----------------------------------------------------------------------------------


class BagOfWords(nn.Module):
    """Mean embedding of the unmasked tokens, and a head on it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="bert")
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Parameter(torch.randn(12, 6, generator=generator))
        self.head = nn.Linear(6, 2)
        with torch.no_grad():
            self.head.weight.normal_(generator=generator)
            self.head.bias.zero_()
        self.dropout = nn.Dropout(0.1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        mask_BT1 = attention_mask[..., None].float()
        mean_BD = (self.embedding[input_ids] * mask_BT1).sum(1) / mask_BT1.sum(1)
        return SimpleNamespace(logits=self.head(self.dropout(mean_BD)))


def examples(count: int = 40) -> LabelExamples:
    """Texts of words 1 to 11; the label says whether the sum of the words is even."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 6, (count,), generator=generator).tolist()
    ids = tuple(
        tuple(torch.randint(1, 12, (length,), generator=generator).tolist()) for length in lengths
    )
    return LabelExamples(ids, (), torch.tensor([sum(row) % 2 for row in ids]), 0)


class CrossEntropy(Objective):
    """The loss of the labels; remembers which rows it was asked for."""

    def __init__(self) -> None:
        self.seen = list[list[int]]()

    def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
        logits_NC, labels_N = part.out[LOGITS], part.batch.labels_N
        assert len(part.rows) == len(logits_NC) == len(labels_N)
        assert part.own
        self.seen.append(list(part.rows))
        loss = nn.functional.cross_entropy(logits_NC, labels_N)
        return {"loss": loss, "half": loss / 2}


def fit(recipe: TrainingRecipe = RECIPE) -> tuple[list[Progress], BagOfWords, CrossEntropy]:
    data, module, objective = examples(), BagOfWords(), CrossEntropy()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        progress = list(train(HiddenStateModel(module), data, objective, recipe, SoloWorker()))
    return progress, module, objective


def losses(progress: list[Progress]) -> list[float]:
    return [p.metrics.values["train/loss"] for p in progress if p.metrics is not None]


def test_the_loss_falls() -> None:
    found = losses(fit(replace(RECIPE, epochs=20))[0])
    assert sum(found[-5:]) < 0.5 * sum(found[:5])


def test_training_repeats_itself_bit_for_bit() -> None:
    (one, module, _), (other, again, _) = fit(), fit()
    assert one == other
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert losses(fit(replace(RECIPE, seed=4))[0]) != losses(one)


def test_progress_counts_steps_and_examples() -> None:
    progress, _, objective = fit()
    assert [p.done for p in progress] == list(range(1, 16))
    assert {p.total for p in progress} == {15}
    assert [p.examples for p in progress] == [8] * 15
    assert [p.metrics.step for p in progress if p.metrics] == list(range(1, 16))
    assert Counter(row for rows in objective.seen for row in rows) == Counter(list(range(40)) * 3)


def test_a_fraction_of_an_epoch() -> None:
    progress, _, objective = fit(replace(RECIPE, epochs=0.5))
    assert len(progress) == 3
    assert len({row for rows in objective.seen for row in rows}) == 24


def test_every_term_rate_and_gradient_norm_is_measured() -> None:
    progress, _, _ = fit()
    for step, entry in enumerate(progress):
        assert entry.metrics is not None
        values = entry.metrics.values
        assert set(values) == {
            "train/loss",
            "train/half",
            "train/learning_rate",
            "train/grad_norm",
            "train/clipped",
        }
        assert values["train/half"] == pytest.approx(values["train/loss"] / 2)
        assert values["train/learning_rate"] == RECIPE.rate(step, 15)
        assert values["train/grad_norm"] > 0
        assert values["train/clipped"] == float(values["train/grad_norm"] > RECIPE.max_grad_norm)


def test_clipped_steps_are_those_whose_norm_was_above_the_limit() -> None:
    norms = [p.metrics.values["train/grad_norm"] for p in fit()[0] if p.metrics is not None]
    limit = sorted(norms)[len(norms) // 2]
    first, *_ = fit(replace(RECIPE, max_grad_norm=limit, epochs=0.1))[0]
    assert first.metrics is not None
    assert first.metrics.values["train/clipped"] == float(norms[0] > limit)
    for most, share in ((1e9, 0.0), (1e-9, 1.0)):
        progress, _, _ = fit(replace(RECIPE, max_grad_norm=most))
        assert {p.metrics.values["train/clipped"] for p in progress if p.metrics} == {share}


def test_one_step_is_adamw_on_the_clipped_gradient() -> None:
    """Decoupled decay first, then the bias-corrected first step of Adam: lr · g / (|g| + ε)."""
    recipe = replace(RECIPE, epochs=0.01, max_grad_norm=1e-3, weight_decay=0.1, warmup_share=0)
    data = examples()
    module = BagOfWords()
    module.dropout.p = 0.0
    rows = next(batches([len(ids) for ids in data.ids], recipe))
    before = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    batch = data.batch(rows)
    loss = nn.functional.cross_entropy(module(**batch.inputs).logits, batch.labels_N)
    torch.autograd.backward(loss)
    gradients = {
        n: p.grad.double().clone() for n, p in module.named_parameters() if p.grad is not None
    }
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients.values()))
    assert norm > recipe.max_grad_norm
    (progress,) = train(HiddenStateModel(module), data, CrossEntropy(), recipe, SoloWorker())
    assert progress.metrics is not None
    assert progress.metrics.values["train/grad_norm"] == pytest.approx(norm, rel=1e-5)
    assert set(gradients) == set(before)
    rate = recipe.learning_rate
    for name, parameter in module.named_parameters():
        clipped = gradients[name] * recipe.max_grad_norm / (norm + 1e-6)
        step = rate * clipped / (clipped.abs() + 1e-8)
        expected = before[name] * (1 - rate * recipe.weight_decay) - step
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-4, atol=1e-5)


def test_frozen_weights_stay() -> None:
    data = examples()
    module = BagOfWords()
    module.embedding.requires_grad_(False)
    before = module.embedding.clone()
    list(train(HiddenStateModel(module), data, CrossEntropy(), RECIPE, SoloWorker()))
    assert torch.equal(module.embedding, before)


def test_a_module_is_in_training_mode_during_and_in_evaluation_mode_after() -> None:
    data = examples()
    module = BagOfWords().eval()
    steps = train(HiddenStateModel(module), data, CrossEntropy(), RECIPE, SoloWorker())
    modes = [module.training for _ in steps]
    assert modes == [True] * 15
    assert not module.training


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step(bad: float) -> None:
    data = examples()
    objective = CrossEntropy()

    class Broken(Objective):
        def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
            terms = objective(part, worker)
            return terms if len(objective.seen) < 3 else {"loss": terms["loss"] * bad}

    module = BagOfWords()
    done: list[Progress] = []
    with pytest.raises(FloatingPointError, match=f"the loss is {bad} at step 3 of 15; try"):
        done.extend(train(HiddenStateModel(module), data, Broken(), RECIPE, SoloWorker()))
    assert all(torch.isfinite(p).all() for p in module.parameters())


# --- prediction --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64])
def test_predictions_are_in_the_order_of_the_rows(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "PREDICT_BATCH", size)
    data = examples()
    model = BagOfWords().eval()
    with torch.no_grad():
        expected = torch.cat([model(**data.batch([row]).inputs).logits for row in range(40)])
    found = measure.predict(model, data, torch.device("cpu"))
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32
    assert not found.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_prediction_is_without_dropout_and_keeps_the_mode(training: bool) -> None:
    data = examples()
    model = BagOfWords()
    model.dropout.p = 0.9
    model.train(training)
    first = measure.predict(model, data, torch.device("cpu"))
    assert torch.equal(first, measure.predict(model, data, torch.device("cpu")))
    assert model.training is training


# --- workers -----------------------------------------------------------------------------------


class OneOf(SoloWorker):
    """Worker `rank` of `size`, as far as sharing goes."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self.rank, self.size = rank, size


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_workers_shares_are_all_rows_in_order(rows: int, size: int) -> None:
    numbers = [n * 3 for n in range(rows)]
    shares = [OneOf(rank, size).share(numbers) for rank in range(size)]
    assert [row for mine, _ in shares for row in mine] == numbers
    counts = [len(mine) for mine, _ in shares]
    assert all(told == counts for _, told in shares)
    assert max(counts) - min(counts) <= 1


def test_one_worker_has_everything() -> None:
    worker, module, rows = SoloWorker(), BagOfWords(), torch.randn(3, 2, requires_grad=True)
    assert worker.share([4, 5]) == ([4, 5], [2])
    assert worker.wrap(module) is module
    assert worker.gather(rows, [3]) is rows
    assert (worker.rank, worker.size, worker.device.type) == (0, 1, "cpu")


def test_threads_are_given_back_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):  # noqa: PT012
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
