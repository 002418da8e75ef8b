"""Tiny random teachers, built from their configs: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

VOCABULARY, UNITS, POSITIONS, EXAMPLES = 50, 16, 6, 4


@dataclass(frozen=True)
class Teacher:
    """A tiny model with one padded batch."""

    model: nn.Module
    layers: list[nn.Module]
    ids_BT: Tensor
    mask_BT: Tensor
    labels_B: Tensor

    def forward(self) -> Tensor:
        return self.model(input_ids=self.ids_BT, attention_mask=self.mask_BT.long()).logits


def make(kind: str, classes: int = 3) -> Teacher:
    with torch.random.fork_rng():  # a model's init draws from the global state
        torch.manual_seed(0)
        model, layers = build(kind, classes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        # Larger than the usual init, so that gradients differ clearly between examples.
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    ids_BT = torch.randint(2, VOCABULARY, (EXAMPLES, POSITIONS), generator=generator)
    mask_BT = torch.ones(EXAMPLES, POSITIONS, dtype=torch.bool)
    mask_BT[1, 4:] = mask_BT[3, 2:] = False
    ids_BT[~mask_BT] = 0
    labels_B = torch.arange(EXAMPLES) % classes
    return Teacher(model.eval(), layers, ids_BT, mask_BT, labels_B)


def build(kind: str, classes: int) -> tuple[nn.Module, list[nn.Module]]:
    if kind == "bert":
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=UNITS,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=POSITIONS,
                num_labels=classes,
            )
        )
        layers = list(model.bert.encoder.layer)
    else:
        model = GPT2ForSequenceClassification(
            GPT2Config(
                vocab_size=VOCABULARY,
                n_embd=UNITS,
                n_layer=2,
                n_head=2,
                n_positions=POSITIONS,
                num_labels=classes,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=1,
            )
        )
        layers = list(model.transformer.h)
    return model, layers


@pytest.fixture(params=["bert", "gpt2"])
def teacher(request: pytest.FixtureRequest) -> Teacher:
    return make(request.param)


@pytest.fixture(params=["bert", "gpt2"])
def regressor(request: pytest.FixtureRequest) -> Teacher:
    return make(request.param, classes=1)


@pytest.fixture
def teacher_before_norm() -> tuple[Teacher, nn.Module]:
    """GPT-2 in fp64, and the norm after its last block, without the norm's ε."""
    teacher = make("gpt2")
    teacher.model.double()
    norm = teacher.model.transformer.ln_f
    norm.eps = 0.0
    return teacher, norm


class Head(nn.Module):
    """logits = A · Σ_t h_t³, with gradients known in closed form; `layer` returns what it gets."""

    def __init__(self, weight_CD: Tensor, *, as_tuple: bool = False) -> None:
        super().__init__()
        self.layer = _Layer(as_tuple)
        self.weight_CD = nn.Parameter(weight_CD)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        output = self.layer(hidden_BTD)
        hidden_BTD = output[0] if isinstance(output, tuple) else output
        return hidden_BTD.pow(3).sum(dim=1) @ self.weight_CD.T


class _Layer(nn.Module):
    def __init__(self, as_tuple: bool) -> None:
        super().__init__()
        self.as_tuple = as_tuple

    def forward(self, hidden_BTD: Tensor) -> object:
        return (hidden_BTD, "cache") if self.as_tuple else hidden_BTD


@pytest.fixture(params=[False, True], ids=["tensor", "tuple"])
def cubic(request: pytest.FixtureRequest) -> Head:
    generator = torch.Generator().manual_seed(5)
    return Head(torch.randn(3, 4, generator=generator), as_tuple=request.param)


@pytest.fixture
def hidden_BTD() -> Tensor:
    """Input of `cubic`: 3 examples, 5 positions, 4 units."""
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(6))
