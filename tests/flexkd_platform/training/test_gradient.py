"""A batch's gradient does not depend on the micro-batches that it is taken in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flexkd_core import cka_loss, correlation_loss, forward_kl
from flexkd_platform.artifacts import read_log
from flexkd_platform.tasks import Batch
from flexkd_platform.training import SoloWorker
from flexkd_platform.training.gradient import Gradient
from flexkd_platform.training.hidden_states import LOGITS, HiddenStateModel
from flexkd_platform.training.micro_batch import MicroBatch, MicroBatchOutputs, Objective
from flexkd_platform.training.worker import Worker

from ..lab import train_student, training_of

ROWS, WIDTH = 11, 5


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Net(nn.Module):
    """Two layers with dropout between them, in fp64."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="bert")
        self.first, self.second = nn.Linear(WIDTH, WIDTH).double(), nn.Linear(WIDTH, 4).double()
        with torch.no_grad():
            for place, parameter in enumerate(self.parameters()):
                parameter.copy_(draw(*parameter.shape, seed=place))
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.second(self.dropout(torch.tanh(self.first(values)))))


TARGET_NC = draw(ROWS, 4, seed=9)

LOSSES: dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]] = {
    "divergence": (True, lambda ours, theirs: forward_kl(ours, theirs, reduction="sum") / ROWS),
    "correlation": (False, lambda ours, theirs: correlation_loss(ours, theirs, reduction="sum")),
    "CKA": (False, lambda ours, theirs: cka_loss(ours, theirs, form="sqrt")),
    "variance": (False, lambda ours, theirs: ours.var() - theirs.mean()),
}
"""Losses, and whether they add up over the parts of a batch."""


class Against(Objective):
    """One loss against fixed targets."""

    def __init__(self, name: str) -> None:
        self.adds_up, self._loss = LOSSES[name]

    def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
        loss = self._loss(part.out[LOGITS], TARGET_NC[list(part.rows)])
        return {"loss": loss, "twice": 2 * loss}


def shares(bounds: Sequence[int]) -> list[MicroBatch]:
    values = draw(ROWS, WIDTH, seed=7)
    found = []
    for start, stop in pairwise(bounds):
        mask = torch.ones(stop - start, 1)
        batch = Batch(
            {"values": values[start:stop], "attention_mask": mask}, torch.empty(0), None, {}
        )
        found.append(MicroBatch(range(start, stop), batch, True))
    return found


def taken(name: str, bounds: Sequence[int], dropout: float) -> tuple[dict[str, float], Any]:
    """Terms and gradients; the parts are the rows between the bounds."""
    net = Net(dropout)
    gradient = Gradient(_Plain(net), Against(name), SoloWorker(), "fp32", lambda loss, part: None)
    torch.manual_seed(3)
    terms = gradient(shares(bounds), {"": [ROWS], "targets": [ROWS]})
    return {key: term.item() for key, term in terms.items()}, [p.grad for p in net.parameters()]


class _Plain(nn.Module):
    """What `run` calls, around a net without layers to tap."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Any, targets: None, masks: Any) -> dict[str, Tensor]:
        return {LOGITS: self.net(**inputs).logits}


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=25)
@given(cuts=st.sets(st.integers(1, ROWS - 1), min_size=1, max_size=5))
def test_in_any_parts_it_is_that_of_the_whole(name: str, cuts: set[int]) -> None:
    whole, expected = taken(name, [0, ROWS], dropout=0.0)
    terms, gradients = taken(name, [0, *sorted(cuts), ROWS], dropout=0.0)
    assert terms == pytest.approx(whole, rel=1e-12)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, (adds_up, _) in LOSSES.items() if not adds_up])
def test_dropout_falls_alike_in_both_passes(name: str) -> None:
    """The gradient is that of one graph through all parts, run one after the other."""
    bounds = [0, 4, 9, ROWS]
    terms, gradients = taken(name, bounds, dropout=0.4)
    net = Net(0.4)
    torch.manual_seed(3)
    logits_NC = torch.cat([net(**share.batch.inputs).logits for share in shares(bounds)])
    after = torch.get_rng_state()
    loss = LOSSES[name][1](logits_NC, TARGET_NC)
    torch.autograd.backward(loss)
    assert terms["loss"] == pytest.approx(loss.item(), rel=1e-12)
    for gradient, parameter in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-10, atol=1e-12)
    # The next step's dropout is not this one's again.
    taken(name, bounds, dropout=0.4)
    assert torch.equal(torch.get_rng_state(), after)


def test_one_forward_has_only_a_micro_batch_in_memory() -> None:
    """No forward, of either pass, sees more examples than it may."""
    seen: list[int] = []
    net = Net(0.0)
    net.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["values"])), with_kwargs=True
    )
    worker = SoloWorker()
    gradient = Gradient(_Plain(net), Against("CKA"), worker, "fp32", lambda loss, part: None)
    gradient(shares([0, 4, 8, ROWS]), {"": [ROWS], "targets": [ROWS]})
    assert seen == [4, 4, 3] * 2


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kd", "cka", "flexkd"])
def test_bfloat16_is_close_and_weights_stay_wide(method: str, fresh: Callable[[], Any]) -> None:
    lab = fresh()
    losses = {}
    for precision in ("fp32", "bf16"):
        trial = lab.trial(f"{{kind: {method}}}", f"distill.precision={precision}")
        list(train_student(trial.distill, lab.store))
        losses[precision] = [e.values["train/loss"] for e in read_log(trial.distill, lab.store)]
        assert ("precision" in trial.distill.identity["distill"]) == (precision == "bf16")
    # 8 bits of mantissa: a product is off by at most 2⁻⁸ of itself, and it is not the same.
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"][0] != losses["fp32"][0]


def test_a_tapped_model_puts_out_wide_numbers_in_bfloat16(lab: Any) -> None:
    trial = lab.trial("{kind: flexkd}", "distill.precision=bf16")
    training = training_of(trial.distill, lab.store)
    kinds: list[set[torch.dtype]] = []

    class Watched(Objective):
        def __call__(self, part: MicroBatchOutputs, worker: Worker) -> dict[str, Tensor]:
            kinds.append({values.dtype for values in part.out.values()})
            return training.objective(part, worker)

        def ask(self, share: MicroBatch) -> Any:
            return training.objective.ask(share)

    shares_ = [MicroBatch([0, 1], training.data.batch([0, 1]), True)]
    module = HiddenStateModel(training.model, [1])
    gradient = Gradient(module, Watched(), SoloWorker(), "bf16", lambda loss, part: None)
    gradient(shares_, {"": [2], "targets": [2]})
    assert kinds == [{torch.float32}]
    grads = [p.grad.dtype for p in training.model.parameters() if p.grad is not None]
    assert set(grads) == {torch.float32}
