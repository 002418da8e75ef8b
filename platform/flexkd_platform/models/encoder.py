"""Load a model's backbone alone, for metrics that compare words by their hidden states."""

from __future__ import annotations

from transformers import AutoModel, PreTrainedModel

from ..model_info.adapter import base_folder
from ..model_info.hub import Source, folder_of
from ..model_info.quiet import quiet
from .adapter import merged
from .config_facts import read_config
from .quantised import from_checkpoint


def load_encoder(source: Source) -> PreTrainedModel:
    """The backbone of a checkpoint, fp32, on the CPU, in eval mode.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    named = folder_of(source, weights=True)
    with quiet():
        folder = base_folder(named)
        model, _ = from_checkpoint(AutoModel, folder, read_config(folder))
    return merged(model, named).eval()
