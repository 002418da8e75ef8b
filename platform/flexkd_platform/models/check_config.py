"""Check whether a model can be created from a config alone, and determine its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig

from ..model_info import ModelFacts
from ..model_info.errors import ModelError
from ..model_info.quiet import quiet
from ..spec import Problem, sha256_of
from .base_tokenizer import padding_id, special_tokens, template_of
from .config_facts import bad_config, facts_of, meta_backbone, require_known
from .config_names import known_names
from .family import family_of_config

_BYTES = 256


def check_config(
    values: Mapping[str, Any], vocab_size: int, *, path: str
) -> tuple[ModelFacts | None, list[Problem]]:
    """Check a config from which `make_base` will create a model.

    Args:
        values: as in a config.json: `model_type` and the sizes.
        vocab_size: rows of the word embedding; overrides a `vocab_size` among the values.
        path: of the config in the spec.

    Returns:
        The facts, or None if there are problems; and all problems. The fingerprint is a SHA-256
        over values and vocabulary size. The tokenizer's digest is the same, since the tokenizer is
        not trained yet.
    """
    try:
        config = config_from(values, vocab_size)
        backbone = meta_backbone(config)
        like = template_of(config.model_type, family_of_config(config))
    except ModelError as error:
        return None, [Problem(path, error.message, error.remedy)]
    least = _BYTES + len(set(special_tokens(like).values()))
    if vocab_size < least:
        remedy = f"give at least {least}: {_BYTES} bytes and the special tokens"
        return None, [Problem(path, f"a vocabulary of {vocab_size} words is too small", remedy)]
    fingerprint = sha256_of({"config": dict(values), "vocab_size": vocab_size})
    facts = facts_of(
        config, fingerprint=fingerprint, tokenizer_digest=fingerprint, shapes={}, backbone=backbone
    )
    return facts, []


def config_from(values: Mapping[str, Any], vocab_size: int) -> Any:
    """The config of these values and this vocabulary.

    Raises:
        ModelError: the architecture is missing or unknown, or has no such keys or values.
    """
    if "model_type" not in values:
        raise ModelError(
            "the config does not set model_type", "name the architecture, as model_type: gpt2"
        )
    model_type = str(values["model_type"])
    require_known(model_type)
    unknown = sorted(set(values) - known_names(model_type))
    if unknown:
        raise ModelError(
            f"the config of a {model_type} model has no {', '.join(unknown)}",
            "use the names of its config.json",
        )
    try:
        with quiet():
            config = AutoConfig.for_model(**{**values, "vocab_size": vocab_size})
    except Exception as error:  # its checks raise errors without a common base
        raise bad_config(f"the config of this {model_type} model", error) from error
    if config.pad_token_id is not None and config.pad_token_id >= vocab_size:
        # The default is that of the published vocabulary, which this one is not.
        config.pad_token_id = padding_id(model_type)
    return config
