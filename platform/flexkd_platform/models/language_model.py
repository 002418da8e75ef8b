"""Load language models from checkpoints: complete, in fp32 and in eval mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from ..model_info.adapter import base_folder
from ..model_info.checkpoint import read_shapes
from ..model_info.errors import ModelError
from ..model_info.families import FAMILIES
from ..model_info.hub import Source, folder_of
from ..model_info.quiet import quiet
from ..spec import ModulePaths, counted
from .adapter import merged
from .config_facts import read_config
from .family import family_of_config
from .finite import require_finite
from .loading import load_tokenizer, set_dropout
from .quantised import from_checkpoint
from .random_state import kept_random_state

_CLASSES = {"causal": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}


def language_model_class(config: Any) -> Any:
    """Transformers' class for a language model of this architecture.

    Raises:
        ModelError: the architecture has none.
    """
    kind = family_of_config(config).language_model
    if kind is None:
        known = ", ".join(name for name, family in FAMILIES.items() if family.language_model)
        raise ModelError(
            f"a {config.model_type} model generates no text", f"language models are {known}"
        )
    return _CLASSES[kind]


def holds_language_model(config: Any) -> bool:
    """Whether a checkpoint was saved by the language-model class of its architecture."""
    if family_of_config(config).language_model is None:
        return False
    language_model = language_model_class(config)._model_mapping[type(config)]
    return language_model.__name__ in (config.architectures or [])


def load_language_model(
    source: Source, *, dropout: float | None = None, modules: ModulePaths | None = None
) -> PreTrainedModel:
    """A model with its language-model head, from its checkpoint; a GGUF file is dequantised.

    Global random state is unchanged.

    Args:
        source: what `locate` returned.
        dropout: set for every dropout of the architecture; None keeps the checkpoint's.
        modules: where the model keeps its parts, if the spec names them.

    Returns:
        A causal or an encoder–decoder language model on the CPU, in fp32 and in eval mode, whose
        padding token is the tokenizer's.

    Raises:
        ModelError: the architecture generates no text; the checkpoint cannot be read, or lacks
            weights, the head's included unless it is tied to the embedding.
    """
    named = folder_of(source, weights=True)
    folder = base_folder(named)
    with quiet():
        config = read_config(folder, modules)
        prepare_language_config(config, named, dropout=dropout)
        read_shapes(folder)
        # Weights that are drawn are missing in the checkpoint: an error below.
        with kept_random_state(0):
            model, report = from_checkpoint(language_model_class(config), folder, config)
    lost = sorted(report["missing_keys"] | {name for name, *_ in report["mismatched_keys"]})
    if lost:
        raise ModelError(
            f"the checkpoint lacks {counted(len(lost), 'weight')} of a "
            f"{config.model_type} language model, "
            f"or has them in another shape, as {lost[0]}",
            "name the folder that the language model was saved to, its head included",
        )
    model.generation_config.pad_token_id = config.pad_token_id
    model = merged(model, named)
    require_finite(model.named_parameters(), str(named))
    return model.eval()


def prepare_language_config(config: Any, folder: Path, *, dropout: float | None) -> None:
    """Set a config's padding token, which is the tokenizer's, and dropout."""
    config.pad_token_id = load_tokenizer(folder).pad_token_id
    set_dropout(config, dropout)
