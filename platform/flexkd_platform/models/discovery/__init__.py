"""Architectures without an entry in `FAMILIES`: their parts are found, and verified, by trying.

`discover` builds a small copy of a model, runs it, and compares what its modules return with what
the model returns. What cannot be verified is refused, with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from ...model_info.errors import ModelError, first_line
from ...model_info.family import Family, Stack
from ...model_info.quiet import quiet
from ...spec import ModulePaths
from ..family import MODULES, tried
from .head import find_head
from .language import find_writer
from .layers import OTHER_MODEL, find_stacks
from .settings import find_dropouts, find_positions, fixed_dropouts
from .small import make_small, small_copies

__all__ = ["discover"]


def discover(config: Any) -> Family:
    """The architecture of a transformers config.

    Takes about a second: it makes a few small models. Global random state is unchanged.

    Raises:
        ModelError: the layers are not found, or it is neither a classifier nor a language model.
    """
    try:
        return _discovered(config)
    except ModelError:
        raise
    except Exception as error:  # configs and models raise errors without a common base
        raise ModelError(
            f"the parts of {config.model_type} models are not found: {first_line(error)}",
            OTHER_MODEL,
        ) from error


def _discovered(config: Any) -> Family:
    _refuse_other_models(config)
    named = ModulePaths.model_validate(getattr(config, MODULES, None) or {})
    with quiet():
        small, stacks = _first_that_works(config, named)
        provisional = Family(stacks, "eos" if config.is_encoder_decoder else "last", "", ())
        with tried(small, provisional):
            return _described(small, provisional, _pad_of(config))


def _first_that_works(config: Any, named: ModulePaths) -> tuple[Any, dict[str, Stack]]:
    """The narrowest copy that runs, and its stacks. Raises the error of the last one otherwise."""
    failed: ModelError | None = None
    for small in small_copies(config):
        try:
            return small, find_stacks(make_small(AutoModel, small), small, named)
        except ModelError as error:
            failed = failed or error
        except Exception as error:  # a width that does not fit raises anything
            failed = failed or ModelError(
                f"a {config.model_type} model does not run with token ids and an attention mask: "
                f"{first_line(error)}",
                OTHER_MODEL,
            )
    raise failed or ModelError(
        f"a small copy of this {config.model_type} model cannot be made",
        OTHER_MODEL,
    )


def _described(small: Any, family: Family, pad: int) -> Family:
    """The whole architecture, of which the stacks are known."""
    family = _with_writer(small, _with_head(small, family))
    if family.language_model is None and not family.head:
        raise ModelError("; ".join(family.unsupported.values()), OTHER_MODEL)
    autos = _autos(small)
    dropouts = find_dropouts(small, autos)
    unsupported = dict(family.unsupported)
    if fixed := fixed_dropouts(small, autos, dropouts):
        unsupported["student"] = (
            f"no setting of {small.model_type} models turns off the dropout of {fixed[0]}"
        )
    positions, reserved = find_positions(small, pad)
    return replace(
        family,
        dropouts=dropouts,
        optional=_optional(small, autos),
        positions=positions,
        first_position=reserved,
        discovered=True,
        unsupported=unsupported,
    )


def _with_head(small: Any, family: Family) -> Family:
    """With its classification head, or the reason why it has none."""
    if family.encoder_decoder:
        return family
    try:
        head = find_head(small, family.stacks[""])
    except Exception as error:  # a model that does not run with these inputs raises anything
        return _without(family, "classifier", small, error)
    return replace(family, head_reads=head.reads, head=head.head, left_padding=head.left_padding)


def _with_writer(small: Any, family: Family) -> Family:
    """With its language-model head, or the reason why it has none."""
    try:
        writer = find_writer(small, family)
    except Exception as error:  # as above
        return _without(family, "writer", small, error)
    return replace(
        family,
        language_model=writer.kind,
        output_names=(writer.head,),
        logit_bias=writer.bias,
        decoding=writer.decoding,
    )


def _without(family: Family, role: str, small: Any, error: Exception) -> Family:
    reason = (
        error.message
        if isinstance(error, ModelError)
        else f"as a {role}, a {small.model_type} model does not run: {first_line(error)}"
    )
    return replace(family, unsupported={**family.unsupported, role: reason})


def _autos(small: Any) -> list[Any]:
    """The classes of models with a head that are used; of an encoder–decoder, those of both."""
    every: tuple[Any, ...] = (AutoModelForSequenceClassification, AutoModelForCausalLM)
    if small.is_encoder_decoder:
        every = (AutoModelForSeq2SeqLM,)
    return [auto for auto in every if type(small) in auto._model_mapping]


def _optional(small: Any, autos: Iterable[Any]) -> tuple[str, ...]:
    """Prefixes of backbone weights that a checkpoint may lack.

    They are those that models with a head lack, as a pooler, and those that are not saved since
    they are constant, as sinusoidal positions.
    """
    whole, _, lacking = _names(AutoModel, small)
    heads = [*autos]
    if type(small) in AutoModelForMaskedLM._model_mapping and not small.is_encoder_decoder:
        heads.append(AutoModelForMaskedLM)
    for auto in heads:
        held, prefix, unsaved = _names(auto, small)
        lacking |= {name.removeprefix(prefix) for name in unsaved}
        held = {name.removeprefix(prefix) for name in held}
        lacking |= {f"{name.partition('.')[0]}." for name in whole - held}
    return tuple(sorted(lacking))


def _names(auto: Any, small: Any) -> tuple[set[str], str, set[str]]:
    """A model's parameters, its backbone's prefix, and the parameters that are not saved."""
    with quiet(), torch.device("meta"):
        model: nn.Module = auto.from_config(small)
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    unsaved = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    return names, f"{model.base_model_prefix}.", unsaved & names


def _pad_of(config: Any) -> int:
    pad = getattr(config, "pad_token_id", None)
    return pad if isinstance(pad, int) else 0


def _refuse_other_models(config: Any) -> None:
    """Raise ModelError for a model of text and something else, or of two models."""
    inner = config.get_text_config()
    if inner is not config:
        raise ModelError(
            f"{config.model_type} models hold a text model ({inner.model_type}) and other parts",
            f"save the text model alone, and name its folder: a {inner.model_type} model",
        )
    if type(config) not in AutoModel._model_mapping:
        raise ModelError(
            f"transformers has no model without a head for {config.model_type}",
            OTHER_MODEL,
        )
