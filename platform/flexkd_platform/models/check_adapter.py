"""Check a PEFT adapter against its base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from ..model_info import ModelFacts
from ..model_info.adapter import Adapter, adapter_of, own_head, tokenizer_folder
from ..model_info.errors import ModelError
from ..model_info.facts import folder_fingerprint
from ..model_info.hub import folder_of
from ..model_info.quiet import quiet
from ..spec import Problem, canonical_json
from .adapter import adapter_weights, check_fit, head_of_adapter
from .config_facts import config_of, set_head, tokenizer_digest
from .family import family_of_config
from .language_model import language_model_class
from .loading import check_words, load_tokenizer

Checked = tuple[ModelFacts | None, list[Problem]]


def check_adapter(adapter: Adapter, base: Checked, *, path: str) -> Checked:
    """Check an adapter: its base, its weights against it, and its tokenizer.

    Args:
        base: the result of the base's own check.
        path: of the spec's key `model`.

    Returns:
        The facts of the merged model, or None if there are problems; and all problems.
    """
    facts, problems = base
    if facts is None:
        return None, [
            replace(problem, message=f"{adapter.describe()}; {problem.message}")
            for problem in problems
        ]
    try:
        _require_plain_base(adapter)
        weights = adapter_weights(adapter)
        outputs = head_of_adapter(weights, family_of_config(config_of(facts)).head)
        check_fit(_on_meta(facts, outputs), adapter, weights)
        head = {} if outputs is None else own_head(adapter)
        folder = tokenizer_folder(adapter.folder)
        tokenizer = load_tokenizer(folder)
        check_words(len(tokenizer), facts.vocab_size, folder)
    except ModelError as error:
        return None, [error.problem(path)]
    found = replace(
        facts,
        fingerprint=folder_fingerprint(adapter.folder),
        tokenizer_digest=tokenizer_digest(tokenizer),
        outputs=facts.outputs if outputs is None else outputs,
        config=facts.config if not head else _described(facts, head),
    )
    return found, []


def _described(facts: ModelFacts, head: Mapping[str, Any]) -> str:
    """The base's config with the adapter's head, as `read_config` has it."""
    config = config_of(facts)
    set_head(config, head)
    values = config.to_dict()
    return canonical_json({key: v for key, v in values.items() if key != "_name_or_path"})


def _require_plain_base(adapter: Adapter) -> None:
    if adapter_of(folder_of(adapter.base, weights=False)) is not None:
        raise ModelError(
            f"{adapter.describe()}, which is an adapter itself",
            "merge that one into its base with PEFT's merge_and_unload, and save the result",
        )


def _on_meta(facts: ModelFacts, outputs: int | None) -> PreTrainedModel:
    """The base on the `meta` device: a language model, or a classifier with the adapter's head."""
    config: Any = config_of(facts)
    auto = AutoModelForSequenceClassification
    if facts.language_model and outputs is None:
        auto = language_model_class(config)
    else:
        config.num_labels = outputs or 2
    with quiet(), torch.device("meta"):
        model: PreTrainedModel = auto.from_config(config)
    return model
