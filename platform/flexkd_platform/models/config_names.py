"""Names that the config of an architecture may have."""

from __future__ import annotations

import inspect
import re
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from ..model_info import FAMILIES

_READ = re.compile(r'kwargs\.(?:get|pop)\(\s*"(\w+)"')


def known_names(model_type: str) -> set[str]:
    """Every key that transformers reads in a config.json of this architecture.

    Transformers keeps unknown keys without a word, so these are needed to refuse a wrong one.
    """
    plain = AutoConfig.for_model(model_type)
    settings = FAMILIES[model_type].settings if model_type in FAMILIES else ()
    return {*plain.to_dict(), *plain.attribute_map, *settings, *_former_names(plain), "model_type"}


def _former_names(config: Any) -> set[str]:
    """Names that a config reads and converts, as Qwen 3's `rope_theta` and ModernBERT's
    `global_attn_every_n_layers`: published files have them, `to_dict` has not.
    """
    readers = [
        vars(each)["__post_init__"]
        for each in inspect.getmro(type(config))
        if issubclass(each, PreTrainedConfig)
        and each is not PreTrainedConfig
        and "__post_init__" in vars(each)
    ]
    if hasattr(config, "rope_parameters"):
        readers.append(config.convert_rope_params_to_dict)
    return {name for reader in readers for name in _READ.findall(inspect.getsource(reader))}
