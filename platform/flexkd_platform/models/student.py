"""Students: a smaller copy of the teacher, a smaller untrained model, or a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from ..artifacts import LabelUnit
from ..model_info import layer_index
from ..model_info.families import embedding_size, inner_size, layer_count
from ..model_info.hub import Source, folder_of
from ..model_info.locate import locate
from ..model_info.quiet import quiet
from ..plan import HeadUse
from ..spec import CutInit, PretrainedInit, RandomInit, SlicedInit, StudentInit
from .config_facts import LM_HEAD, read_config
from .family import family_of_config
from .head import draw_linear, head_modules, set_class_names
from .label_unit import convert_output
from .language_model import language_model_class, load_language_model, prepare_language_config
from .loading import load_with_head, prepare_config
from .random_state import kept_random_state
from .slicing import axis_indices, even_layers, origins, sliced_weights

Units = Mapping[str, Sequence[int]]
"""Per stack, the teacher's hidden units that become the student's units 0, 1, … in this order."""


def build_student(
    init: StudentInit,
    teacher_source: Source,
    *,
    outputs: int,
    regression: bool,
    seed: int,
    dropout: float | None,
    language_model: bool = False,
    units: Units | None = None,
    head: HeadUse | None = None,
    names: Sequence[str] = (),
    unit: LabelUnit | None = None,
    multilabel: bool = False,
) -> PreTrainedModel:
    """The student before its training.

    A classifier's head is drawn from `seed`; a pretrained student keeps its checkpoint's if that
    has as many outputs. A language model's head is the teacher's, cut like the rest.

    Args:
        init: checked by `check_student`.
        teacher_source: the pretrained teacher, or the folder of the fine-tuned one.
        outputs, regression: of the head, as in `load_with_head`; a language model needs neither.
        seed: of all drawn weights.
        dropout: set for every dropout of the architecture; None keeps the teacher's.
        language_model: whether it generates text rather than classify.
        units: which hidden units a cut student keeps, for `aligned`, or instead of the `units` of
            `sliced`. An encoder–decoder keeps the decoder's units in both stacks, which share the
            word embedding and are connected by the decoder's attention.
        head: the use of a pretrained student's own head, as in `load_with_head`.
        names: of the head's outputs.
        unit: of the output, for regression.
        multilabel: whether each class is a decision by itself.

    Returns:
        The model on the CPU, in fp32 and in eval mode.

    Raises:
        ModelError: a checkpoint cannot be read, or is not a language model when one is required.
        ValueError: the units are missing or repeated, or their number is not the student's width.
    """
    if isinstance(init, PretrainedInit):
        source = locate(init.model, init.revision)
        if language_model:
            return load_language_model(source, dropout=dropout, modules=init.modules)
        return load_with_head(
            source,
            outputs=outputs,
            regression=regression,
            seed=seed,
            dropout=dropout,
            head=head,
            names=names,
            unit=unit,
            modules=init.modules,
            multilabel=multilabel,
        )
    folder = folder_of(teacher_source, weights=isinstance(init, CutInit))
    with quiet():
        config = smaller_config(read_config(folder), init)
        if language_model:
            prepare_language_config(config, folder, dropout=dropout)
        else:
            prepare_config(
                config,
                folder,
                outputs=outputs,
                regression=regression,
                dropout=dropout,
                multilabel=multilabel,
            )
        auto = (
            language_model_class(config) if language_model else AutoModelForSequenceClassification
        )
        with kept_random_state(seed):
            student = auto.from_config(config, dtype=torch.float32)
    if not language_model:
        draw_linear(student, head_modules(student), seed=seed)
        set_class_names(student.config, names)
        if unit is not None:
            convert_output(student, unit, kept=False)
    if isinstance(init, CutInit):
        _fill_from_teacher(student, init, folder, units, language_model=language_model, seed=seed)
    return student.eval()


def smaller_config(config: Any, init: CutInit | RandomInit) -> Any:
    """The teacher's config at the student's size; head size and FFN ratio are the teacher's.

    Every stack has the number of layers of `init`. What a list in the config says of a layer, as
    its kind of attention, follows the layers that a cut student keeps; a random one has those that
    one of its depth would keep, or those of all layers over and over if it is deeper.

    Raises:
        ModelError: a layer of `init` does not exist.
    """
    family, small = family_of_config(config), narrower_config(config, init.hidden_size)
    kept = kept_layers(init, config)
    for name, stack in family.stacks.items():
        setattr(small, stack.layers, len(kept[name]))
        for key in family.per_layer:
            values = getattr(config, key)
            setattr(small, key, [values[layer] for layer in kept[name]])
    return small


def narrower_config(config: Any, width: int) -> Any:
    """The teacher's config at another hidden size, with all its layers."""
    family = family_of_config(config)
    small = deepcopy(config)
    for stack in family.stacks.values():
        heads, inner = getattr(config, stack.heads), inner_size(config, stack)
        setattr(small, stack.heads, max(1, heads * width // config.hidden_size))
        setattr(small, stack.inner, max(1, inner * width // config.hidden_size))
        if family.key_value_heads is not None:
            largest = heads // getattr(config, family.key_value_heads)
            shared = _key_value_heads(getattr(small, stack.heads), largest)
            setattr(small, family.key_value_heads, shared)
    for key in ("hidden_size", *family.hidden_sizes):
        setattr(small, key, width)
    if family.embedding_size is not None and embedding_size(config) == config.hidden_size:
        # Otherwise a projection connects the two, and is kept.
        setattr(small, family.embedding_size, width)
    return small


def kept_layers(init: CutInit | RandomInit, config: Any) -> dict[str, list[int]]:
    """The teacher's layer for each of the student's, by stack. Raises as `layer_index`."""
    kept: dict[str, list[int]] = {}
    for name, stack in family_of_config(config).stacks.items():
        count = layer_count(config, stack)
        if not isinstance(init.layers, int):
            kept[name] = [layer_index(layer, count) for layer in init.layers]
        elif init.layers <= count:
            kept[name] = even_layers(init.layers, count)
        else:
            kept[name] = [layer % count for layer in range(init.layers)]
    return kept


def _key_value_heads(heads: int, largest: int) -> int:
    """The fewest key-value heads that divide `heads` into equal groups of at most `largest`."""
    return next(n for n in range(1, heads + 1) if heads % n == 0 and heads // n <= largest)


def _kept_units(init: CutInit, units: Units | None, stack: str, count: int) -> list[int]:
    """The teacher's hidden units, of `count`, that become those of the student, in its order."""
    width = init.hidden_size
    if units is None:
        if not isinstance(init, SlicedInit):
            raise ValueError("an aligned student needs units: select the teacher's first")
        return init.kept_units(count)
    if stack not in units:
        raise ValueError(f"units are of the stacks {sorted(units)}: give those of {stack!r}")
    kept = [int(unit) for unit in units[stack]]
    if len(kept) != width or len(set(kept)) != width or not set(kept) <= set(range(count)):
        raise ValueError(
            f"a student of width {width} needs {width} different units of 0 to {count - 1}, "
            f"and {len(kept)} are given, {len(set(kept))} of them different"
        )
    return kept


def _fill_from_teacher(
    student: PreTrainedModel,
    init: CutInit,
    folder: Path,
    units: Units | None,
    *,
    language_model: bool,
    seed: int,
) -> None:
    """Copy the chosen part of the teacher into the student: backbone and language-model head."""
    if language_model:
        teacher = load_language_model(folder)
        _untie_as(teacher, student)
        target, source = student, teacher
    else:
        # The teacher's head is not used; two outputs satisfy the loader, a pooler is drawn.
        teacher = load_with_head(folder, outputs=2, regression=False, seed=seed)
        target, source = student.base_model, teacher.base_model
    config, prefix = teacher.config, f"{teacher.base_model_prefix}."
    names = {name.removeprefix(prefix): name for name in target.state_dict()}
    last = list(family_of_config(config).stacks)[-1]
    kept = _kept_units(init, units, last, config.hidden_size)
    weights = sliced_weights(
        {name.removeprefix(prefix): weight for name, weight in source.state_dict().items()},
        origins(config.model_type, names, kept_layers(init, config)),
        axis_indices(config, student.config, kept),
    )
    # Strict: a weight that no rule covers, or in another shape, is an error.
    target.load_state_dict({names[name]: weight for name, weight in weights.items()})


def _untie_as(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Untie the student's head from its embedding if the teacher's are not tied.

    Configs are not reliable here: T5's always claim that they are tied.
    """
    if teacher.get_output_embeddings().weight is teacher.get_input_embeddings().weight:
        return
    head = student.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone())
    student.all_tied_weights_keys.pop(LM_HEAD, None)
