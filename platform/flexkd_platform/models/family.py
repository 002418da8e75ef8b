"""The architecture of a model: its entry in `FAMILIES`, or what is found by trying a small copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..model_info import families
from ..model_info.families import FAMILIES
from ..model_info.family import Family, HeadReads
from ..spec import sha256_of

MODULES = "flexkd_modules"
"""Config key of the module paths that a spec names; a saved model keeps them."""

_found: dict[str, Family] = {}

_NO_MATTER = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "label_mean",
    "label_std",
    "num_labels",
    "pad_token_id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
"""Settings that may change after an architecture was found, and do not change it."""


def family_of_config(config: Any) -> Family:
    """The architecture of a transformers config; what is found is remembered in this process.

    Raises:
        ModelError: it has no entry, and its layers cannot be found or verified.
    """
    if config.model_type in FAMILIES and not getattr(config, MODULES, None):
        return FAMILIES[config.model_type]
    key = _key(config)
    if key not in _found:
        # Here: discovery tries a small copy with what reads the architecture.
        from .discovery import discover

        _found[key] = discover(config)
    return _found[key]


def head_reads(config: Any) -> HeadReads:
    """What the classification head of a model reads. Raises as `family_of_config` does."""
    return families.head_reads(config, family_of_config(config))


@contextmanager
def tried(config: Any, family: Family) -> Iterator[None]:
    """Inside, the architecture of this config is `family`, which is not verified yet."""
    key = _key(config)
    before = _found.get(key)
    _found[key] = family
    try:
        yield
    finally:
        if before is None:
            del _found[key]
        else:
            _found[key] = before


def _key(config: Any) -> str:
    values = {
        key: value
        for key, value in config.to_dict().items()
        if key not in _NO_MATTER and "drop" not in key
    }
    return sha256_of({"type": config.model_type, "values": repr(sorted(values.items()))})
