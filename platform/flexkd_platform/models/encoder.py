"""Load a model's backbone alone, for metrics that compare words by their hidden states."""

from __future__ import annotations

import torch
from transformers import AutoModel, PreTrainedModel

from ..model_info.adapter import base_folder
from ..model_info.hub import Source, folder_of
from ..model_info.quiet import quiet
from .adapter import merged


def load_encoder(source: Source) -> PreTrainedModel:
    """The backbone of a checkpoint, fp32, on the CPU, in eval mode.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    named = folder_of(source, weights=True)
    with quiet():
        model: PreTrainedModel = AutoModel.from_pretrained(base_folder(named), dtype=torch.float32)
    return merged(model, named).eval()
