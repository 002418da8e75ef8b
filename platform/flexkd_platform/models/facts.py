"""What is known about a model without loading its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from ..spec import canonical_json, sha256_of
from .checkpoint import CONFIG, TOKENIZER_FILES, gguf_argument, gguf_of, weight_files
from .errors import ModelError, first_line
from .families import Family, family_of, family_of_config, head_size, inner_size, layer_count
from .gguf_file import Shapes, gguf_shapes, read_once
from .quiet import quiet

UNLIMITED = 2**31 - 1
"""`max_positions` of a model that has no longest input."""

LM_HEAD = "lm_head.weight"
"""What every known architecture calls the weights of its language-model head."""


@dataclass(frozen=True)
class ModelFacts:
    """Identity and shape of a model's backbone, that is the model without its head.

    fingerprint: hex SHA-256 over the contents of config, tokenizer and weights; `name@commit` for
        a hub model.
    stacks: name and number of layers of each stack: one under "", or encoder and decoder.
    encoder_decoder: whether there are two of them.
    layers, heads, head_size, intermediate_size: of the last stack, which is the decoder where
        there are two; head_size is the width of one attention head, intermediate_size the inner
        width of the feed-forward part.
    parameters: of the backbone, a pooler included.
    outputs: outputs of the classification head that the checkpoint holds; None without one.
    language_model: whether it holds a language-model head, or ties it to its word embedding.
    vocab_size: rows of the word embedding, padding rows included.
    tokenizer_digest: hex SHA-256 over every token with its number and the numbers of the special
        tokens: equal for models that share a tokenizer, however many rows they embed.
    max_positions: longest input in tokens; `UNLIMITED` for relative positions.
    config: the whole config as JSON.
    """

    fingerprint: str
    model_type: str
    hidden_size: int
    stacks: tuple[tuple[str, int], ...]
    encoder_decoder: bool
    layers: int
    heads: int
    head_size: int
    intermediate_size: int
    parameters: int
    outputs: int | None
    language_model: bool
    vocab_size: int
    tokenizer_digest: str
    max_positions: int
    config: str = field(repr=False)


def facts_of(
    config: Any,
    *,
    fingerprint: str,
    tokenizer_digest: str,
    shapes: Shapes,
    backbone: PreTrainedModel,
) -> ModelFacts:
    """The facts of a model, from its config, its weights' shapes and its backbone on meta."""
    family = family_of_config(config)
    last = list(family.stacks.values())[-1]
    # Where it was read is no property of a model.
    values = {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}
    return ModelFacts(
        fingerprint=fingerprint,
        model_type=config.model_type,
        hidden_size=config.hidden_size,
        stacks=tuple((name, layer_count(config, stack)) for name, stack in family.stacks.items()),
        encoder_decoder=family.encoder_decoder,
        layers=layer_count(config, last),
        heads=getattr(config, last.heads),
        head_size=head_size(config, last),
        intermediate_size=inner_size(config, last),
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        outputs=head_outputs(config, family, shapes),
        language_model=family.language_model is not None
        and bool(config.tie_word_embeddings or LM_HEAD in shapes),
        vocab_size=config.vocab_size,
        tokenizer_digest=tokenizer_digest,
        max_positions=UNLIMITED if family.positions is None else getattr(config, family.positions),
        config=canonical_json(values),
    )


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over the sorted vocabulary and the numbers of the special tokens."""
    special = {
        key: getattr(tokenizer, f"{key}_token_id")
        for key in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    }
    return sha256_of({"words": sorted(tokenizer.get_vocab().items()), "special": special})


def read_config(folder: Path) -> Any:
    """The config as transformers reads it; ModelError if it cannot, or is of no known family."""
    if (gguf := gguf_of(folder)) is not None:
        gguf_shapes(gguf)  # says better what is wrong with it than transformers does
        config = read_once("config", gguf, lambda: _parsed(folder, str(gguf)))
        family_of_config(config)
        return config
    file = folder / CONFIG
    if not file.is_file():
        raise ModelError(
            f"{folder} has no {CONFIG}", "name the folder that a model was saved to by transformers"
        )
    try:
        values = json.loads(file.read_text())
        model_type = values["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} is no config of a model: {first_line(error)}",
            "it has to be a JSON object with a model_type; copy it again",
        ) from None
    family_of(str(model_type))
    return _parsed(folder, str(file))


def _parsed(folder: Path, file: str) -> Any:
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, **gguf_argument(folder))
    except Exception as error:  # its checks raise errors without a common base
        raise bad_config(file, error) from error


def bad_config(config: str, error: Exception) -> ModelError:
    """What transformers says of a config, as a problem of its own."""
    return ModelError(
        f"{config} describes no model that can be built: {first_line(error)}",
        "compare it with the published config of this model",
    )


def meta_backbone(config: Any) -> PreTrainedModel:
    """The model without head and without memory: names and shapes of its weights alone.

    Raises:
        ModelError: the config describes no model.
    """
    try:
        with quiet(), torch.device("meta"):
            return AutoModel.from_config(config)
    except Exception as error:  # whatever a model's constructor makes of a bad value
        raise bad_config(f"the config of this {config.model_type} model", error) from error


def config_of(facts: ModelFacts) -> Any:
    """A transformers config of its own, from the facts."""
    values = json.loads(facts.config)
    return AutoConfig.for_model(**values)


def head_outputs(config: Any, family: Family, shapes: Shapes) -> int | None:
    """Outputs of a checkpoint's classification head; None if it holds none.

    Heads of other tasks bear the same name (`classifier` labels tokens, too), so the class that
    was saved decides as well.
    """
    saved = config.architectures or []
    if family.head not in shapes or not any("SequenceClassification" in name for name in saved):
        return None
    return shapes[family.head][0]


def folder_fingerprint(folder: Path) -> str:
    """Hex SHA-256 over the names and contents of config, tokenizer and weights.

    Files are read once per process, however often they are asked for.
    """
    small = [folder / name for name in sorted({CONFIG, *TOKENIZER_FILES})]
    files = [file for file in small if file.is_file()] + weight_files(folder)
    return sha256_of([[file.name, _file_sha256(file)] for file in files])


_hashed: dict[tuple[Path, int, int], str] = {}


def _file_sha256(file: Path) -> str:
    stat = file.stat()
    key = (file.resolve(), stat.st_size, stat.st_mtime_ns)
    if key not in _hashed:
        with file.open("rb") as stream:
            _hashed[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashed[key]
