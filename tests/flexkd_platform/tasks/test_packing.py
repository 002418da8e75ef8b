"""Packed batches: no example sees another, in any architecture that is said to keep them apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from flexkd_platform.model_info import PACKED
from flexkd_platform.tasks import GenerationExamples

VOCABULARY, PAD = 60, 0
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {
    **SIZES,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    # Narrower than an example, so that a window across a border would show.
    "sliding_window": 4,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
    "gpt_neox": {**SIZES, "intermediate_size": 32, "max_position_embeddings": 32},
    **dict.fromkeys(PACKED - {"gpt2", "gpt_neox"}, SMALL),
}


def examples(**changes: Any) -> GenerationExamples:
    draw = torch.Generator().manual_seed(5)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, VOCABULARY, (length,), generator=draw).tolist())

    sizes = [(3, 4), (7, 1), (1, 5), (12, 12), (3, 4), (9, 2), (1, 1), (2, 8)]
    fields: dict[str, Any] = {
        "prompts": tuple(ids(prompt) for prompt, _ in sizes),
        "responses": tuple(ids(response) for _, response in sizes),
        "pad_id": PAD,
        "encoder_decoder": False,
        "decoder_start_id": None,
        # Earlier answers of a conversation.
        "earlier": tuple((1, 2) if prompt > 3 else () for prompt, _ in sizes),
    }
    return GenerationExamples(**(fields | changes))


def model_of(architecture: str) -> Any:
    ids = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(architecture, **CONFIGS[architecture], **ids)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def outputs(model: Any, data: GenerationExamples) -> tuple[Any, Any, list[Any]]:
    """Logits of the targets, their mean loss, and its gradients."""
    batch = data.batch(range(len(data)))
    model.zero_grad()
    logits_NV = model(**batch.inputs, use_cache=False).logits[batch.targets_BT]
    loss = cross_entropy(logits_NV, batch.labels_N)
    loss.backward()
    return logits_NV.detach(), loss.detach(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("architecture", sorted(PACKED))
def test_packed_losses_and_gradients_are_those_of_single_rows(architecture: str) -> None:
    model, data = model_of(architecture), examples()
    logits_NV, loss, gradients = outputs(model, data)
    packed = replace(data, packed=26)
    assert packed.batch(range(len(data))).inputs["input_ids"].shape[0] < len(data)
    found = outputs(model, packed)
    torch.testing.assert_close(found[0], logits_NV, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[2], gradients, rtol=1e-5, atol=1e-5)
    assert (logits_NV - logits_NV.mean(dim=0)).abs().max() > 0.05  # rows that read nothing agree


def test_the_mask_matters() -> None:
    """Without positions that restart, examples see each other, and the test above would fail."""
    model, data = model_of("llama"), replace(examples(), packed=26)
    batch = data.batch(range(len(data)))
    apart = model(**batch.inputs, use_cache=False).logits
    together = model(input_ids=batch.inputs["input_ids"], use_cache=False).logits
    assert (apart - together).abs().max() > 0.05


def test_a_packed_batch_by_hand() -> None:
    data = examples(
        prompts=((10, 11), (12,), (13,)),
        responses=((20, 21), (22,), (23, 24)),
        earlier=(),
        packed=6,
    )
    batch = data.batch([0, 1, 2])
    assert batch.targets_BT is not None
    assert batch.inputs["input_ids"].tolist() == [[10, 11, 20, 21, 12, 22], [13, 23, 24, 0, 0, 0]]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 1, 2]]
    assert batch.targets_BT.int().tolist() == [[0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 0]]
    assert batch.labels_N.tolist() == [20, 21, 22, 23, 24]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(1, 40))
def test_targets_keep_the_order_of_the_examples(rows: list[int], width: int) -> None:
    data = examples()
    plain, packed = data.batch(rows), replace(data, packed=width).batch(rows)
    assert plain.labels_N.tolist() == packed.labels_N.tolist()
    assert len(packed.labels_N) == sum(map(data.target_rows, rows))
    assert packed.inputs["input_ids"].shape[1] <= max(width, *map(data.length, rows))
