"""Reaching into a model: its layers, their hidden states, and the row the head reads."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel, XLNetConfig, XLNetModel

from flexkd_platform.model_info import ModelError
from flexkd_platform.models import (
    HiddenStateHook,
    head_rows,
    hidden_layer,
    hidden_layers,
    load_with_head,
)

Wrap = Callable[..., DistributedDataParallel]
Make = Callable[..., Path]
Tokens = Callable[..., dict[str, Tensor]]

KINDS = ["bert", "distilbert", "gpt2", "opt", "llama"]
DECODERS = ["gpt2", "opt", "llama"]


def classifier(folder: Path) -> PreTrainedModel:
    return load_with_head(folder, outputs=3, regression=False, seed=0, dropout=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_put_out_the_models_hidden_states(make: Make, tokens: Tokens, kind: str) -> None:
    model = classifier(make(kind))
    layers = hidden_layers(model)
    assert len(layers) == model.config.num_hidden_layers
    taps = [HiddenStateHook(layer) for layer in layers]
    hidden = model(**tokens(), output_hidden_states=True).hidden_states
    # The last of transformers' hidden states may have passed a norm after the last layer.
    for tap, expected_BTD in zip(taps[:-1], hidden[1:-1], strict=True):
        assert torch.equal(tap.take(), expected_BTD)
    assert taps[-1].take().shape == hidden[-1].shape
    assert hidden_layers(model.base_model) == layers


def test_an_architecture_whose_layers_return_no_hidden_states_has_none() -> None:
    xlnet = XLNetModel(XLNetConfig(d_model=8, n_head=2, n_layer=1, d_inner=8, vocab_size=10))
    with pytest.raises(ModelError, match=r"this xlnet has no layers that can be read: layer: "):
        hidden_layers(xlnet)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tap_has_the_graph(make: Make, tokens: Tokens, kind: str) -> None:
    model = classifier(make(kind))
    with HiddenStateHook(hidden_layers(model)[-1]) as tap:
        logits_BC = model(**tokens()).logits
        hidden_BTD = tap.take()
    (gradient_BTD,) = torch.autograd.grad(logits_BC.sum(), hidden_BTD)
    assert gradient_BTD.any()


def test_the_tap_is_handed_out_once_and_lets_go(make: Make, tokens: Tokens) -> None:
    model = classifier(make("bert"))
    tap = HiddenStateHook(hidden_layers(model)[0])
    with pytest.raises(RuntimeError, match="no forward has run"):
        tap.take()
    model(**tokens())
    hidden = weakref.ref(tap.take())
    gc.collect()
    assert hidden() is None
    with pytest.raises(RuntimeError, match="no forward has run"):
        tap.take()


def test_a_removed_tap_leaves_no_trace(make: Make, tokens: Tokens) -> None:
    model = classifier(make("bert"))
    before = model(**tokens()).logits
    with HiddenStateHook(hidden_layers(model)[0]) as tap:
        assert torch.equal(model(**tokens()).logits, before)
    model(**tokens())
    with pytest.raises(RuntimeError, match="no forward has run"):
        tap.take()
    tap.remove()


class _TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x


def test_the_tap_takes_the_first_of_several_outputs() -> None:
    layer = _TwoOutputs()
    with HiddenStateHook(layer) as tap:
        layer(torch.zeros(1, 2, 3))
        assert torch.equal(tap.take(), torch.ones(1, 2, 3))


def test_taps_work_inside_a_data_parallel_wrapper(
    make: Make, tokens: Tokens, data_parallel: Wrap
) -> None:
    model = classifier(make("gpt2"))
    early = HiddenStateHook(hidden_layers(model)[-1])
    wrapped = data_parallel(model)
    late = HiddenStateHook(hidden_layers(wrapped)[-1])
    wrapped(**tokens())
    hidden_BTD = late.take()
    assert torch.equal(early.take(), hidden_BTD)
    with HiddenStateHook(hidden_layer(wrapped, "last")) as last:
        state_BTD = wrapped(**tokens(), output_hidden_states=True).hidden_states[-1]
        assert torch.equal(last.take(), state_BTD)
        late.take()
    torch.autograd.backward(hidden_BTD.sum())
    batch = tokens()
    assert torch.equal(head_rows(wrapped, **batch), head_rows(model, **batch))


def padded(side: str) -> dict[str, Tensor]:
    """Three texts of 6, 4 and 1 tokens; 0 is the padding of every tiny tokenizer."""
    ids_BT = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 0, 0], [9, 0, 0, 0, 0, 0]])
    mask_BT = (ids_BT != 0).long()
    if side == "left":
        ids_BT, mask_BT = ids_BT.flip(1), mask_BT.flip(1)
    return {"input_ids": ids_BT, "attention_mask": mask_BT}


def assert_head_reads(model: PreTrainedModel, batch: dict[str, Tensor], rows_BT: Tensor) -> None:
    """Logits follow the last layer's output at `rows_BT`, and at no other position."""
    before = model(**batch).logits

    def logits_with(changed_BT: Tensor) -> Tensor:
        def change(layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
            noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
            return output + noise * changed_BT[..., None]

        handle = hidden_layers(model)[-1].register_forward_hook(change)
        try:
            logits: Tensor = model(**batch).logits
        finally:
            handle.remove()
        return logits

    assert torch.equal(logits_with(~rows_BT), before)
    assert (logits_with(rows_BT) != before).any(dim=1).all()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_read_the_last_token(make: Make, kind: str, side: str) -> None:
    model, batch = classifier(make(kind)), padded(side)
    rows_BT = head_rows(model, **batch)
    last = [5, 3, 0] if side == "right" else [5, 5, 5]
    assert rows_BT.int().argmax(1).tolist() == last
    assert rows_BT.sum(1).tolist() == [1, 1, 1]
    assert_head_reads(model, batch, rows_BT)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_berts_read_the_first_position(make: Make, kind: str) -> None:
    model, batch = classifier(make(kind)), padded("right")
    rows_BT = head_rows(model, **batch)
    assert rows_BT.dtype == torch.bool
    assert rows_BT[:, 0].all()
    assert rows_BT.sum() == 3
    assert_head_reads(model, batch, rows_BT)


def test_a_text_that_ends_with_the_padding_token_is_read_before_it(make: Make) -> None:
    model = classifier(make("gpt2"))
    batch = padded("right")
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])  # the ends are real tokens
    rows_BT = head_rows(model, **batch)
    assert rows_BT.int().argmax(1).tolist() == [5, 3, 0]
    assert_head_reads(model, batch, rows_BT)


def test_a_text_of_padding_alone_still_has_one_row(make: Make) -> None:
    model = classifier(make("gpt2"))
    nothing_BT = torch.zeros(1, 4, dtype=torch.long)
    rows_BT = head_rows(model, nothing_BT, nothing_BT)
    assert rows_BT.sum() == 1
    assert_head_reads(model, {"input_ids": nothing_BT}, rows_BT)


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_encoder_decoders_read_the_last_end(make: Make, kind: str) -> None:
    model = classifier(make(kind))
    # 1 ends a text; the first is a pair, and has two ends. All need as many.
    ids_BT = torch.tensor([[5, 1, 7, 8, 9, 1], [5, 1, 7, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    batch = {"input_ids": ids_BT, "attention_mask": (ids_BT != 0).long()}
    rows_BT = head_rows(model, **batch)
    assert rows_BT.int().argmax(1).tolist() == [5, 3, 1]
    assert rows_BT.sum(1).tolist() == [1, 1, 1]
    before = model(**batch).logits
    noise = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))
    for changed_BT, differs in ((rows_BT, True), (~rows_BT, False)):
        handle = hidden_layer(model, "decoder.1").register_forward_hook(
            lambda layer, inputs, output, changed_BT=changed_BT: (
                (output[0] + noise * changed_BT[..., None], *output[1:])
                if isinstance(output, tuple)
                else output + noise * changed_BT[..., None]
            )
        )
        assert bool((model(**batch).logits != before).any()) == differs
        handle.remove()
    with pytest.raises(ValueError, match="reads the end-of-text token, which a text lacks"):
        head_rows(model, ids_BT[:, 2:5], batch["attention_mask"][:, 2:5])


def test_head_rows_refuses_what_cannot_be_meant(make: Make) -> None:
    model = classifier(make("bert"))
    with pytest.raises(ValueError, match="reads position 0, which is padding here"):
        head_rows(model, **padded("left"))
    ids_BT = padded("right")["input_ids"]
    with pytest.raises(ValueError, match=r"\(3, 6\) and attention_mask \(3, 5\) must both be"):
        head_rows(model, ids_BT, ids_BT[:, :5])
    with pytest.raises(ValueError, match="must both be"):
        head_rows(model, ids_BT[0], ids_BT[0])
