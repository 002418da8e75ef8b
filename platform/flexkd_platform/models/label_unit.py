"""The unit of a regressor's output, which its config holds as `label_mean` and `label_std`.

A label is `output · label_std + label_mean`. A checkpoint without these keys outputs labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..artifacts import LabelUnit
from .head import output_layer
from .layers import unwrapped


def label_unit(model: nn.Module) -> LabelUnit | None:
    """The unit of a model's output; None for a model whose config has none."""
    config = unwrapped(model).config
    mean, std = getattr(config, "label_mean", None), getattr(config, "label_std", None)
    return None if mean is None or std is None else LabelUnit(float(mean), float(std))


def forget_unit(config: Any) -> None:
    """Remove the unit from the config of a model that gets a head for classes."""
    for key in ("label_mean", "label_std"):
        vars(config).pop(key, None)


@torch.no_grad()
def convert_output(
    model: PreTrainedModel, unit: LabelUnit, *, kept: bool, exact: bool = False
) -> None:
    """Make a regressor output values of `unit`, which its config holds from then on.

    Args:
        kept: whether the head is a trained one, whose weights are converted; one that was drawn
            is left as it is.
        exact: add a bias to a head that lacks one, as those of decoders, so that the model
            predicts the same labels as before; for models that are used as they are.
    """
    if kept:
        layer = output_layer(model)
        factor, shift = (label_unit(model) or LabelUnit()).conversion(unit)
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor).add_(shift)
        elif exact:
            layer.bias = nn.Parameter(layer.weight.new_full((layer.out_features,), shift))
    model.config.label_mean, model.config.label_std = unit.mean, unit.std
