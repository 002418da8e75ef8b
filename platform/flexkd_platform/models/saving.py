"""Models and their tokenizers in a folder that anyone's transformers can read."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .checkpoint import read_shapes
from .errors import ModelError
from .loading import load_tokenizer
from .quiet import quiet


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write config, safetensors weights and tokenizer to a folder, made if need be.

    The same model and tokenizer give the same bytes in every file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def load_saved(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A classifier and its tokenizer as `save_model` wrote them; fp32, on the CPU, in eval mode.

    Raises:
        ModelError: the folder holds no complete classifier, or no tokenizer.
    """
    tokenizer = load_tokenizer(folder)
    read_shapes(folder)
    with quiet(), torch.random.fork_rng(devices=[]):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
        )
    wrong = sorted(
        {*report["missing_keys"], *report["unexpected_keys"]}
        | {name for name, *_ in report["mismatched_keys"]}
    )
    if wrong:
        raise ModelError(
            f"{folder} holds no complete classifier: {len(wrong)} weights are missing or too "
            f"many, as {wrong[0]}",
            "name a folder that save_model wrote",
        )
    return model.eval(), tokenizer
