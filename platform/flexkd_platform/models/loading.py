"""Load tokenizers and classifiers from checkpoints: complete, in fp32 and in eval mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from ..model_info.checkpoint import gguf_argument, gguf_of, read_shapes, require_tokenizer_files
from ..model_info.errors import ModelError, first_line
from ..model_info.gguf_file import no_bar, read_once
from ..model_info.hub import Source, folder_of
from ..model_info.quiet import quiet
from ..spec import ModulePaths
from .config_facts import head_outputs, read_config
from .config_keys import set_key
from .family import family_of_config
from .head import draw_linear, head_modules
from .random_state import kept_random_state


def load_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a padding token: the end-of-text token if it has none.

    Raises:
        ModelError: it is missing, broken, or has neither token.
    """
    folder = folder_of(source, weights=False)
    # Checked here: if files are missing, transformers creates a tokenizer of five words.
    require_tokenizer_files(folder)
    gguf = gguf_of(folder)
    try:
        tokenizer = (
            _parsed(folder)
            if gguf is None
            else read_once("tokenizer", gguf, lambda: _parsed(folder))
        )
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ModelError(
            f"the tokenizer in {folder} cannot be read: {first_line(error)}",
            "copy it again, or save it again with the tokenizer's save_pretrained",
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"the tokenizer in {folder} has special tokens only, {len(tokenizer)} of them",
            "copy its files again",
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer in {folder} has neither a padding nor an end-of-text token",
                "add a pad_token to its tokenizer_config.json",
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _parsed(folder: Path) -> PreTrainedTokenizerBase:
    # AutoTokenizer would parse a GGUF file's header again, and choose this class.
    auto = PreTrainedTokenizerFast if gguf_of(folder) else AutoTokenizer
    with quiet():
        return auto.from_pretrained(folder, **gguf_argument(folder))


def load_with_head(
    source: Source,
    *,
    outputs: int,
    regression: bool,
    seed: int,
    dropout: float | None = None,
    modules: ModulePaths | None = None,
) -> PreTrainedModel:
    """A model with a classification head, from its checkpoint.

    The head is the checkpoint's own if it holds one with as many outputs, and otherwise drawn
    from `seed`, as is a pooler that the checkpoint lacks. Global random state is unchanged.

    Args:
        source: what `locate` returned.
        outputs: classes, or 1 for regression.
        regression: whether the one output is a value.
        seed: of the drawn weights.
        dropout: set for every dropout of the architecture; None keeps the checkpoint's.
        modules: where the model keeps its parts, if the spec names them.

    Returns:
        The model on the CPU, in fp32 and in eval mode.

    Raises:
        ModelError: the checkpoint cannot be read, or lacks weights of the backbone.
        ValueError: the outputs do not fit the task.
    """
    folder = folder_of(source, weights=True)
    with quiet():
        config = read_config(folder, modules)
        held = head_outputs(config, family_of_config(config), read_shapes(folder))
        prepare_config(config, folder, outputs=outputs, regression=regression, dropout=dropout)
        with kept_random_state(seed), no_bar(gguf_of(folder)):
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **gguf_argument(folder),
            )
    head = head_modules(model) if held != outputs else []
    in_head = {f"{module}.{part}" for module in head for part in ("weight", "bias")}
    missing = report["missing_keys"] - in_head
    wrong = {name for name, *_ in report["mismatched_keys"]} - in_head
    drawn = head + _drawable(model, missing, wrong)
    draw_linear(model, drawn, seed=seed)
    return model.eval()


def prepare_config(
    config: Any, folder: Path, *, outputs: int, regression: bool, dropout: float | None
) -> None:
    """Set a config's head, padding token and dropout.

    Raises:
        ValueError: regression with several outputs, or classification with fewer than two.
    """
    if regression and outputs != 1:
        raise ValueError(f"regression has 1 output, not {outputs}")
    if not regression and outputs < 2:
        raise ValueError(f"classification needs at least 2 outputs, not {outputs}")
    config.num_labels = outputs
    config.problem_type = "regression" if regression else "single_label_classification"
    if family_of_config(config).head_reads != "first":
        # The head searches for the last token before the padding, which the tokenizer adds.
        config.pad_token_id = load_tokenizer(folder).pad_token_id
    set_dropout(config, dropout)


def set_dropout(config: Any, dropout: float | None) -> None:
    """Set every dropout of a config's architecture; None leaves them."""
    if dropout is not None:
        for key in family_of_config(config).dropouts:
            set_key(config, key, dropout)


def _drawable(model: PreTrainedModel, missing: set[str], wrong: set[str]) -> list[str]:
    """Modules to draw for weights that a checkpoint lacks; only optional ones may be missing."""
    optional = tuple(
        f"{model.base_model_prefix}.{prefix}" for prefix in family_of_config(model.config).optional
    )
    lost = sorted({name for name in missing if not name.startswith(optional)} | wrong)
    if lost:
        raise ModelError(
            f"the checkpoint lacks {len(lost)} weights of a {model.config.model_type} model, "
            f"or has them in another shape, as {lost[0]}",
            "name the folder that its model was saved to, config and weights together",
        )
    return sorted({name.rpartition(".")[0] for name in missing})
