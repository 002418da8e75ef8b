"""Weights that a config ties, saved twice with different values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from ..model_info.checkpoint import gguf_of, weight_files
from ..model_info.errors import ModelError
from ..model_info.gguf_file import Shapes
from ..model_info.quiet import quiet
from .family import family_of_config
from .language_model import language_model_class


def require_tied(folder: Path, shapes: Shapes, backbone: PreTrainedModel) -> None:
    """Reject a checkpoint that holds two values of weights which its config ties.

    transformers loads both and no longer ties them; what is trained, cut or saved afterwards would
    depend on which of the two is read.

    Args:
        folder: of the checkpoint.
        shapes: of its weights, by name.
        backbone: on the `meta` device.

    Raises:
        ModelError: names the two weights.
    """
    if gguf_of(folder) is not None:
        return
    for copy, original in _tied(shapes, backbone):
        one, other = _tensor(folder, copy), _tensor(folder, original)
        if not torch.equal(one, other):
            raise ModelError(
                f"{folder} holds {copy} and {original} with different values, and its config ties "
                "them",
                "set tie_word_embeddings: false in its config.json if it was trained with both; "
                "otherwise save it again without one of them",
            )


def _tied(shapes: Shapes, backbone: PreTrainedModel) -> Iterator[tuple[str, str]]:
    """Pairs of names in the checkpoint that the model ties."""
    config, model, prefix = backbone.config, backbone, backbone.base_model_prefix
    outputs = family_of_config(config).output_names
    if not shapes.keys().isdisjoint(outputs):
        model = _language_model(config)
    for pair in model.all_tied_weights_keys.items():
        if _has_its_own_output(config) and pair[0] in outputs:
            continue
        copy, original = (_saved_name(name, prefix, shapes) for name in pair)
        if copy is not None and original is not None:
            yield copy, original


def _has_its_own_output(config: Any) -> bool:
    """Whether a checkpoint may hold an output layer of its own although its config ties it.

    The configs of the T5 family tie it whatever their file says, in transformers 5; T5 v1.1,
    Flan-T5 and mT5 have one, and transformers uses it.
    """
    return bool(type(config)(tie_word_embeddings=False).tie_word_embeddings)


def _language_model(config: Any) -> PreTrainedModel:
    with quiet(), torch.device("meta"):
        model: PreTrainedModel = language_model_class(config).from_config(config)
    return model


def _saved_name(name: str, prefix: str, shapes: Shapes) -> str | None:
    """The name in the checkpoint, which may be that of the backbone alone or of a whole model."""
    names = (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}")
    return next((each for each in names if each in shapes), None)


def _tensor(folder: Path, name: str) -> Tensor:
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118  # not a mapping
                found: Tensor = tensors.get_tensor(name)
                return found
    raise AssertionError(f"{name} has a shape and is in no file")
