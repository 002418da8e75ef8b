"""The facts of a model, from its config and from its backbone on the `meta` device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..model_info import FAMILIES, UNLIMITED, Family, ModelError, ModelFacts
from ..model_info.adapter import adapter_of, base_folder, own_head
from ..model_info.checkpoint import CONFIG, gguf_argument, gguf_of
from ..model_info.errors import first_line
from ..model_info.families import (
    final_norm,
    first_position,
    head_size,
    inner_size,
    layer_count,
    unknown,
)
from ..model_info.family import Stack
from ..model_info.gguf_file import Shapes, gguf_shapes, read_once
from ..model_info.quantised import quantisation_of
from ..model_info.quiet import quiet
from ..plan import Stacks, StackShape
from ..spec import ModulePaths, canonical_json, sha256_of
from .family import MODULES, family_of_config
from .quantised import without_quantisation

LM_HEAD = "lm_head.weight"
"""Name of the language-model head's weights in every architecture that can be cut."""


def facts_of(
    config: Any,
    *,
    fingerprint: str,
    tokenizer_digest: str,
    shapes: Shapes,
    backbone: PreTrainedModel,
) -> ModelFacts:
    """The facts of a model, from its config, its weights' shapes and its backbone on meta."""
    family = family_of_config(config)
    last = list(family.stacks.values())[-1]
    # The path that it was read from is not a property of the model.
    values = {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}
    return ModelFacts(
        fingerprint=fingerprint,
        model_type=config.model_type,
        hidden_size=config.hidden_size,
        stacks=stack_shapes(config, backbone),
        encoder_decoder=family.encoder_decoder,
        layers=_depth(config, family, last, backbone),
        heads=None if family.discovered else getattr(config, last.heads),
        head_size=None if family.discovered else head_size(config, last),
        intermediate_size=None if family.discovered else inner_size(config, last),
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        outputs=head_outputs(config, family, shapes),
        language_model=family.language_model is not None
        and bool(config.tie_word_embeddings or not shapes.keys().isdisjoint(family.output_names)),
        vocab_size=config.vocab_size,
        tokenizer_digest=tokenizer_digest,
        max_positions=longest_input(config),
        config=canonical_json(values),
        head_reads=family.head_reads,
        left_padding=family.left_padding,
        writes=family.language_model,
        discovered=family.discovered,
        unsupported=dict(family.unsupported),
    )


def longest_input(config: Any) -> int:
    """The most tokens that a model reads; `UNLIMITED` for relative positions."""
    family = family_of_config(config)
    if family.positions is None:
        return UNLIMITED
    return int(getattr(config, family.positions)) - first_position(config, family)


def stack_shapes(config: Any, backbone: PreTrainedModel) -> Stacks:
    """The stacks of a model with their numbers of layers, from its config and its backbone."""
    family = family_of_config(config)
    return tuple(
        StackShape(
            name, _depth(config, family, stack, backbone), final_norm(config, stack) is not None
        )
        for name, stack in family.stacks.items()
    )


def _depth(config: Any, family: Family, stack: Stack, backbone: PreTrainedModel) -> int:
    """How many layers a stack has; the config of a discovered architecture may not say."""
    if not family.discovered:
        return layer_count(config, stack)
    return len(list(backbone.get_submodule(stack.path).children()))


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over the sorted vocabulary and the ids of the special tokens."""
    special = {
        key: getattr(tokenizer, f"{key}_token_id")
        for key in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    }
    return sha256_of({"words": sorted(tokenizer.get_vocab().items()), "special": special})


def read_config(folder: Path, modules: ModulePaths | None = None) -> Any:
    """The config as transformers reads it, of an adapter that of its base with the adapter's head.

    modules: where the model keeps its parts, if a spec names them; the config keeps them.

    Raises:
        ModelError: it cannot be read, or the architecture is unknown.
    """
    config = _read_config(base_folder(folder))
    if (adapter := adapter_of(folder)) is not None and (head := own_head(adapter)):
        config = deepcopy(config)
        set_head(config, head)
    if modules is not None:
        config = deepcopy(config)  # that of a GGUF file is read once
        setattr(config, MODULES, modules.to_json())
    family_of_config(config)
    return config


def set_head(config: Any, head: Mapping[str, Any]) -> None:
    """Set `HEAD_KEYS` of a config to those of a head, whose unit is removed if it has none."""
    for key, value in head.items():
        names = key == "id2label"
        setattr(config, key, {int(at): name for at, name in value.items()} if names else value)
    for key in ("label_mean", "label_std"):
        if key not in head:
            vars(config).pop(key, None)


def _read_config(folder: Path) -> Any:
    if (gguf := gguf_of(folder)) is not None:
        gguf_shapes(gguf)  # its errors are clearer than those of transformers
        return read_once("config", gguf, lambda: _parsed(folder, str(gguf)))
    file = folder / CONFIG
    if not file.is_file():
        raise ModelError(
            f"{folder} has no {CONFIG}", "name the folder that a model was saved to by transformers"
        )
    try:
        values = json.loads(file.read_text())
        model_type = values["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} is not a model config: {first_line(error)}",
            "it has to be a JSON object with a model_type; copy it again",
        ) from None
    require_known(str(model_type))
    quantisation_of(file)  # its error is clearer than that of transformers
    return _parsed(folder, str(file))


def require_known(model_type: str) -> None:
    """Raise ModelError for an architecture that transformers does not have."""
    if model_type not in FAMILIES and model_type not in CONFIG_MAPPING:
        raise unknown(model_type)


def _parsed(folder: Path, file: str) -> Any:
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, **gguf_argument(folder))
        return without_quantisation(config)
    except Exception as error:  # its checks raise errors without a common base
        raise bad_config(file, error) from error


def bad_config(config: str, error: Exception) -> ModelError:
    """A ModelError for an error that transformers raises about a config."""
    return ModelError(
        f"{config} is not a valid model config: {first_line(error)}",
        "compare it with the published config of this model",
    )


def meta_backbone(config: Any) -> PreTrainedModel:
    """The model without head, on the `meta` device: only names and shapes of its weights.

    Raises:
        ModelError: the config does not describe a model.
    """
    try:
        with quiet(), torch.device("meta"):
            return AutoModel.from_config(config)
    except Exception as error:  # a constructor may raise anything for a bad value
        raise bad_config(f"the config of this {config.model_type} model", error) from error


def config_of(facts: ModelFacts) -> Any:
    """A new transformers config from the facts."""
    values = json.loads(facts.config)
    return AutoConfig.for_model(**values)


def head_outputs(config: Any, family: Family, shapes: Shapes) -> int | None:
    """Outputs of a checkpoint's classification head; None if it holds none.

    Heads of other tasks have the same name (`classifier` may also classify tokens), so the saved
    class is checked as well.
    """
    saved = config.architectures or []
    if family.head not in shapes or not any("SequenceClassification" in name for name in saved):
        return None
    return shapes[family.head][0]
