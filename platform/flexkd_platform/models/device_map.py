"""Spread models that are too large for one device over all devices of a process."""

from __future__ import annotations

import torch
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import get_balanced_memory
from transformers import PreTrainedModel


def placed(model: PreTrainedModel, device: torch.device, spread_out: bool) -> PreTrainedModel:
    """The model on one device, or spread over all devices of the process."""
    if spread_out:
        return spread(model)
    model.to(device)
    return model


def spread(
    model: PreTrainedModel, max_memory: dict[int | str, int | str] | None = None
) -> PreTrainedModel:
    """Place the model's layers on the devices with free memory: GPUs first, the CPU for the rest.

    A layer is never split. Inputs may be on any device; outputs are returned on the device of the
    inputs. A model that fits on one device is moved there as a whole.

    Args:
        model: on the CPU, as it was loaded.
        max_memory: device → bytes, or as "10GiB"; the free memory, used evenly, when None.
    """
    whole = list(model._no_split_modules or [])
    room = get_balanced_memory(model, max_memory, no_split_module_classes=whole)
    places = infer_auto_device_map(model, max_memory=room, no_split_module_classes=whole)
    return dispatch_model(model, device_map=places)
