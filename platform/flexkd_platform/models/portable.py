"""A saved student as a model for other programs: labels in their own unit, its own length and
decoding, so that `from_pretrained` and `pipeline` do what the evaluation did.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..artifacts import LabelUnit
from ..spec import Beam, Decoding, Sampling
from .head import output_layer
from .label_unit import forget_unit, label_unit


@torch.no_grad()
def output_labels(model: PreTrainedModel) -> LabelUnit | None:
    """Make a regressor output labels in place of standard deviations from their mean.

    The head's last layer is changed: y = std · (W h + b) + mean. Models that output labels already,
    and models of other tasks, stay as they are.

    Returns:
        The unit that the output is still in, because the head has no bias that could hold the mean;
        None if the output is a label.
    """
    unit = label_unit(model)
    if unit is None:
        return None
    layer = output_layer(model)
    if layer.bias is None:
        # A bias that is added to it would be saved, and left out by `from_pretrained`.
        return unit
    layer.weight.mul_(unit.std)
    layer.bias.mul_(unit.std).add_(unit.mean)
    forget_unit(model.config)
    return None


def set_tokenizer(
    tokenizer: PreTrainedTokenizerBase, *, padding: str, max_length: int | None = None
) -> None:
    """Let a tokenizer pad on the side of the training, and truncate to its length."""
    tokenizer.padding_side = padding
    if max_length is not None:
        tokenizer.model_max_length = max_length


def set_decoding(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    decoding: Decoding,
    *,
    max_new_tokens: int,
    eos_id: int,
) -> None:
    """Let `generate` decode as the evaluation did, until `eos_id` or `max_new_tokens`.

    Generation settings of the checkpoint that the student was made from are dropped, as there.
    """
    settings: dict[str, Any] = {"do_sample": False, "num_beams": 1}
    if isinstance(decoding, Sampling):
        settings = {
            "do_sample": True,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k or 0,
        }
    elif isinstance(decoding, Beam):
        settings |= {
            "num_beams": decoding.beams,
            "length_penalty": decoding.length_penalty,
            "no_repeat_ngram_size": decoding.no_repeat_ngram,
        }
    config = model.config
    model.generation_config = GenerationConfig(
        **settings,
        max_new_tokens=max_new_tokens,
        bos_token_id=getattr(config, "bos_token_id", None),
        eos_token_id=eos_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
    )
