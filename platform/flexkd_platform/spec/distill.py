"""Training settings of a student, shared by all methods."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .section import Section, later_field


class Distill(Section):
    """AdamW with linear warm-up and decay over a number of epochs, or of steps."""

    epochs: float = Field(2, gt=0, description="passes over the training split")
    max_steps: int | None = later_field(
        None, gt=0, description="optimiser steps, in place of epochs"
    )
    batch_size: int = Field(32, gt=0, description="examples per optimiser step, over all workers")
    learning_rate: float = Field(3e-4, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout of the student; 0 keeps runs of any width equal"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="bf16: matrix products of the forward and backward pass in bfloat16; weights, "
        "losses and the optimiser stay in fp32",
    )
    keep: Literal["last", "best"] = Field(
        "last", description="the student at the end, or at its best epoch on the validation split"
    )
    teacher_cache: Literal["auto", "off"] = Field(
        "auto",
        description="off runs the teacher live in every trial instead of reading its cache; auto "
        "does so where a trial would read more than 8 GiB of it",
    )
    batches: Literal["bucketed", "random"] = later_field(
        "bucketed",
        description="bucketed: rows of similar length share a batch, which saves padding; random: "
        "any rows do, for losses that compare the rows of a batch, such as the correlation and CKA",
    )
