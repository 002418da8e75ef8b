"""Models that are too large for one device, spread over all devices of a process."""

from __future__ import annotations

import torch
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import get_balanced_memory
from transformers import PreTrainedModel


def placed(model: PreTrainedModel, device: torch.device, spread_out: bool) -> PreTrainedModel:
    """The model on the device of whoever asks it, or over all of its devices."""
    if spread_out:
        return spread(model)
    model.to(device)
    return model


def spread(
    model: PreTrainedModel, max_memory: dict[int | str, int | str] | None = None
) -> PreTrainedModel:
    """The model with its layers on the devices that have room: GPUs first, the CPU for the rest.

    A layer is never cut in two. Inputs may lie on any device; outputs come back to theirs. A model
    that fits on one device is moved there as a whole.

    Args:
        model: on the CPU, as it was loaded.
        max_memory: device → bytes, or as "10GiB"; what is free when None, shared out evenly.
    """
    whole = list(model._no_split_modules or [])
    room = get_balanced_memory(model, max_memory, no_split_module_classes=whole)
    places = infer_auto_device_map(model, max_memory=room, no_split_module_classes=whole)
    return dispatch_model(model, device_map=places)
