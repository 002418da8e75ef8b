"""Students: a smaller copy of the teacher, a smaller blank, or a model of its own."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from flexkd_platform.spec import PretrainedInit, RandomInit, SlicedInit, StudentInit

from .facts import head_size, inner_size, read_config
from .families import family_of_config
from .head import draw_linear, head_modules
from .hub import Source, folder_of
from .layers import layer_index
from .loading import kept_random_state, load_with_head, prepare_config
from .locate import locate
from .quiet import quiet
from .slicing import axis_indices, even_layers, origins, sliced_weights


def build_student(
    init: StudentInit,
    teacher_source: Source,
    *,
    outputs: int,
    regression: bool,
    seed: int,
    dropout: float | None,
) -> PreTrainedModel:
    """The student before its training, with a head drawn from `seed`.

    A pretrained student keeps its checkpoint's head if that has as many outputs; see
    `load_with_head`, also for the arguments and what is returned.

    Args:
        init: checked by `check_student`.
        teacher_source: the pretrained teacher, not the fine-tuned one.

    Raises:
        ModelError: a checkpoint cannot be read, or the teacher cannot be sliced.
    """
    if isinstance(init, PretrainedInit):
        return load_with_head(
            locate(init.model, init.revision),
            outputs=outputs,
            regression=regression,
            seed=seed,
            dropout=dropout,
        )
    folder = folder_of(teacher_source, weights=isinstance(init, SlicedInit))
    with quiet():
        config = smaller_config(read_config(folder), init)
        prepare_config(config, folder, outputs=outputs, regression=regression, dropout=dropout)
        with kept_random_state(seed):
            student = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    draw_linear(student, head_modules(student), seed=seed)
    if isinstance(init, SlicedInit):
        _fill_from_teacher(student, init, folder, seed=seed)
    return student.eval()


def smaller_config(config: Any, init: SlicedInit | RandomInit) -> Any:
    """The teacher's config at the student's size; head size and FFN ratio are the teacher's."""
    family = family_of_config(config)
    small = deepcopy(config)
    small.num_hidden_layers = init.layers if isinstance(init.layers, int) else len(init.layers)
    small.num_attention_heads = init.hidden_size // head_size(config, family)
    setattr(
        small,
        family.inner,
        max(1, inner_size(config, family) * init.hidden_size // config.hidden_size),
    )
    for key in ("hidden_size", *family.same_width):
        setattr(small, key, init.hidden_size)
    if family.key_value_heads is not None:
        # Groups of query heads share one: their number has to divide the heads.
        shared = math.gcd(small.num_attention_heads, getattr(config, family.key_value_heads))
        setattr(small, family.key_value_heads, shared)
    return small


def kept_layers(init: SlicedInit, count: int) -> list[int]:
    """The teacher's layers that a sliced student keeps, of `count`. Raises as `layer_index`."""
    if isinstance(init.layers, int):
        return even_layers(init.layers, count)
    return [layer_index(layer, count) for layer in init.layers]


def _fill_from_teacher(
    student: PreTrainedModel, init: SlicedInit, folder: Path, *, seed: int
) -> None:
    """Copy the chosen part of the teacher's backbone into the student's."""
    # The teacher's head is not used; two outputs satisfy the loader, a pooler comes from `seed`.
    teacher = load_with_head(folder, outputs=2, regression=False, seed=seed)
    family = family_of_config(teacher.config)
    backbone = student.base_model
    sources = origins(
        teacher.config.model_type,
        family.layers,
        list(backbone.state_dict()),
        kept_layers(init, teacher.config.num_hidden_layers),
    )
    indices = axis_indices(teacher.config, student.config, units=init.units)
    # Strict: a weight that no rule covers, or in another shape, is an error.
    backbone.load_state_dict(sliced_weights(teacher.base_model.state_dict(), sources, indices))
