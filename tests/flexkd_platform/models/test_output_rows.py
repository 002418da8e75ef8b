"""Logits at chosen rows: those of the model, of every architecture."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from flexkd_platform.model_info import FAMILIES, ModelError
from flexkd_platform.models import OutputRows, load_language_model, load_with_head, output_head

from .. import architectures
from ..architectures import kind_of

Wrap = Callable[..., DistributedDataParallel]
Make = Callable[..., Path]
Batch = Callable[[str], dict[str, Tensor]]

VARIANTS: dict[str, Mapping[str, Any]] = {
    "t5 untied": {"untied": True, "feed_forward_proj": "gated-gelu"},
    "t5 unscaled": {"tie_word_embeddings": False},
    **{
        variant: values
        for variant, values in architectures.VARIANTS.items()
        if FAMILIES[kind_of(variant)].language_model
    },
}


def rows_of(batch: dict[str, Tensor]) -> Tensor:
    rows_BT = torch.zeros_like(batch.get("decoder_input_ids", batch["input_ids"])).bool()
    rows_BT[0, 1:4] = rows_BT[2, 0] = True
    return rows_BT


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_and_head_give_the_models_logits(make: Make, batch_of: Batch, variant: str) -> None:
    kind = kind_of(variant)
    model = load_language_model(make(kind, language_model=True, **VARIANTS[variant]))
    batch = batch_of(kind)
    rows_BT, head = rows_of(batch), output_head(model)
    with torch.no_grad():
        expected_BTV = model(**batch).logits
        with OutputRows(model) as output:
            assert torch.equal(model(**batch).logits, expected_BTV)
            output.rows_BT = rows_BT
            logits_NV = model(**batch).logits
            hidden_ND = output.take()
            output.logits = False
            assert model(**batch).logits.shape == (0, expected_BTV.shape[-1])
            assert torch.equal(output.take(), hidden_ND)
            own_NV = head(hidden_ND)  # also while the model's head is hooked
        torch.testing.assert_close(logits_NV, expected_BTV[rows_BT], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(own_NV, expected_BTV[rows_BT], rtol=1e-6, atol=1e-6)
        product_NV = hidden_ND @ head.weight.T
        if head.bias_V is not None:
            product_NV = product_NV + head.bias_V
        torch.testing.assert_close(head.logit_map(product_NV), own_NV, rtol=1e-6, atol=1e-6)
        assert (head.bias_V is not None) == (kind == "bart")
        assert torch.equal(model(**batch).logits, expected_BTV)


def test_variants_are_what_they_are_called(make: Make) -> None:
    """The T5 whose config says tied, and whose checkpoint holds a head of its own."""
    folder = make("t5", language_model=True, untied=True, seed=0)
    model = load_language_model(folder)
    assert not torch.equal(model.lm_head.weight, model.shared.weight)
    assert model.config.scale_decoder_outputs
    unscaled = load_language_model(
        make("t5", language_model=True, tie_word_embeddings=False, seed=1)
    )
    assert not unscaled.config.scale_decoder_outputs


def test_the_graph_reaches_through_the_rows(make: Make, batch_of: Batch) -> None:
    model = load_language_model(make("gpt2", language_model=True))
    batch = batch_of("gpt2")
    rows_BT = rows_of(batch)
    torch.autograd.backward(model(**batch).logits[rows_BT].square().sum())
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    with OutputRows(model, logits=False) as output:
        output.rows_BT = rows_BT
        model(**batch)
        torch.autograd.backward(output_head(model)(output.take()).square().sum())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-4)


def test_no_row_at_all(make: Make, batch_of: Batch) -> None:
    for kind in ("gpt2", "bart"):
        model, batch = load_language_model(make(kind, language_model=True)), batch_of(kind)
        with OutputRows(model) as output:
            output.rows_BT = torch.zeros_like(rows_of(batch))
            assert model(**batch).logits.shape[0] == 0
            assert output.take().shape == (0, 16)


def test_what_is_taken_is_let_go(make: Make, batch_of: Batch) -> None:
    model, batch = load_language_model(make("gpt2", language_model=True)), batch_of("gpt2")
    with OutputRows(model) as output:
        with pytest.raises(RuntimeError, match="no forward with rows has run"):
            output.take()
        model(**batch)
        with pytest.raises(RuntimeError, match="set rows_BT and run the model"):
            output.take()
        output.rows_BT = rows_of(batch)
        model(**batch)
        hidden = weakref.ref(output.take())
        gc.collect()
        assert hidden() is None


def test_rows_of_another_batch_are_refused(make: Make, batch_of: Batch) -> None:
    model, batch = load_language_model(make("bart", language_model=True)), batch_of("bart")
    with OutputRows(model) as output:
        output.rows_BT = batch["input_ids"].bool()  # of the encoder
        with pytest.raises(
            ValueError, match=r"rows_BT is \(3, 7\) and the decoder's output \(3, 5"
        ):
            model(**batch)


def test_a_classifier_has_no_head_to_the_words(make: Make) -> None:
    classifier = load_with_head(make("gpt2"), outputs=2, regression=False, seed=0)
    for use in (OutputRows, output_head):
        with pytest.raises(ModelError, match="GPT2ForSequenceClassification has no language-model"):
            use(classifier)


@pytest.mark.parametrize("kind", ["gpt2", "bart"])
def test_inside_a_data_parallel_wrapper(
    make: Make, batch_of: Batch, data_parallel: Wrap, kind: str
) -> None:
    model, batch = load_language_model(make(kind, language_model=True)), batch_of(kind)
    rows_BT = rows_of(batch)
    expected_NV = model(**batch).logits[rows_BT]
    wrapped = data_parallel(model)
    with OutputRows(wrapped) as output:
        output.rows_BT = rows_BT
        logits_NV = wrapped(**batch).logits
        torch.testing.assert_close(logits_NV, expected_NV, rtol=1e-6, atol=1e-6)
        own_NV = output_head(wrapped)(output.take())
        torch.testing.assert_close(own_NV, expected_NV, rtol=1e-6, atol=1e-6)
    torch.autograd.backward(logits_NV.sum())
