"""What is known about a model without loading its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from flexkd_platform.spec import canonical_json, sha256_of

from .checkpoint import CONFIG, TOKENIZER_FILES, Shapes, weight_files
from .errors import ModelError, first_line
from .families import Family, family_of, family_of_config
from .quiet import quiet


@dataclass(frozen=True)
class ModelFacts:
    """Identity and shape of a model's backbone, that is the model without its head.

    fingerprint: hex SHA-256 over the contents of config, tokenizer and weights; `name@commit` for
        a hub model.
    head_size: width of one attention head.
    intermediate_size: inner width of the feed-forward part.
    parameters: of the backbone, a pooler included.
    outputs: outputs of the classification head that the checkpoint holds; None without one.
    max_positions: longest input in tokens.
    config: the whole config as JSON.
    """

    fingerprint: str
    model_type: str
    hidden_size: int
    layers: int
    heads: int
    head_size: int
    intermediate_size: int
    parameters: int
    outputs: int | None
    max_positions: int
    config: str = field(repr=False)


def facts_of(
    config: Any, *, fingerprint: str, shapes: Shapes, backbone: PreTrainedModel
) -> ModelFacts:
    """The facts of a model, from its config, its weights' shapes and its backbone on meta."""
    family = family_of_config(config)
    # Where it was read is no property of a model.
    values = {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}
    return ModelFacts(
        fingerprint=fingerprint,
        model_type=config.model_type,
        hidden_size=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        head_size=head_size(config, family),
        intermediate_size=inner_size(config, family),
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        outputs=head_outputs(config, family, shapes),
        max_positions=config.max_position_embeddings,
        config=canonical_json(values),
    )


def read_config(folder: Path) -> Any:
    """The config as transformers reads it; ModelError if it cannot, or is of no known family."""
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
    family_of(str(model_type), encoder_decoder=values.get("is_encoder_decoder", False) is True)
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder)
    except Exception as error:  # its checks raise errors without a common base
        raise _bad_config(str(file), error) from error
    family_of_config(config)  # T5's config says what it is by its class alone
    return config


def _bad_config(config: str, error: Exception) -> ModelError:
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
        raise _bad_config(f"the config of this {config.model_type} model", error) from error


def config_of(facts: ModelFacts) -> Any:
    """A transformers config of its own, from the facts."""
    values = json.loads(facts.config)
    return AutoConfig.for_model(**values)


def head_size(config: Any, family: Family) -> int:
    """Width of one attention head."""
    if family.head_size is not None:
        return int(getattr(config, family.head_size))
    return int(config.hidden_size // config.num_attention_heads)


def inner_size(config: Any, family: Family) -> int:
    """Inner width of the feed-forward part."""
    inner = getattr(config, family.inner)
    return int(4 * config.hidden_size if inner is None else inner)


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
