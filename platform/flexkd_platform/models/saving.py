"""Save and load models and their tokenizers in the format of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..model_info.adapter import Adapter, adapter_of, own_head
from ..model_info.checkpoint import read_shapes
from ..model_info.errors import ModelError
from ..model_info.quiet import quiet
from .adapter import adapter_weights, head_of_adapter
from .config_facts import read_config, set_head
from .family import family_of_config
from .language_model import holds_language_model, language_model_class, load_language_model
from .loading import load_tokenizer, load_with_head


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write config, safetensors weights and tokenizer to a folder, created if missing.

    The same model and tokenizer give the same bytes in every file.

    weights: used instead of the model's own, of which it may hold only a shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        own = None if weights is None else _tied(model, weights)
        model.save_pretrained(folder, state_dict=own)
        tokenizer.save_pretrained(folder)


def _tied(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with one tensor for all names of a tied parameter.

    Weights gathered from shards have a copy for each name, so an embedding that is also the head
    would be saved twice.
    """
    found, first = dict(weights), dict[int, str]()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        same = first.setdefault(id(parameter), name)
        if name in found and same in found:
            found[name] = found[same]
    return found


def load_saved(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer as `save_model` wrote them; fp32, on the CPU, in eval mode.

    The model is a language model if one was saved, and otherwise a classifier. An adapter is merged
    into its base.

    Raises:
        ModelError: the folder holds no complete model with a head, or no tokenizer.
    """
    tokenizer = load_tokenizer(folder)
    if (adapter := adapter_of(folder)) is not None:
        return _load_adapter(adapter), tokenizer
    read_shapes(folder)
    with quiet(), torch.random.fork_rng(devices=[]):
        config = read_config(folder)
        language_model = holds_language_model(config)
        auto = (
            language_model_class(config) if language_model else AutoModelForSequenceClassification
        )
        model, report = auto.from_pretrained(
            folder, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
        )
    wrong = sorted(
        {*report["missing_keys"], *report["unexpected_keys"]}
        | {name for name, *_ in report["mismatched_keys"]}
    )
    if wrong:
        what = "language model" if language_model else "classifier"
        raise ModelError(
            f"{folder} holds no complete {what}: weights are missing or too many "
            f"({len(wrong)}), as {wrong[0]}",
            "name a folder that save_model wrote",
        )
    return model.eval(), tokenizer


def _load_adapter(adapter: Adapter) -> PreTrainedModel:
    """A student that was saved as an adapter, with its head's names, task and unit."""
    folder = adapter.folder
    config = read_config(folder)
    outputs = head_of_adapter(adapter_weights(adapter), family_of_config(config).head)
    if outputs is None:
        return load_language_model(folder)
    model = load_with_head(folder, outputs=outputs, regression=outputs == 1, seed=0)
    if described := own_head(adapter):
        set_head(model.config, described)
    return model
