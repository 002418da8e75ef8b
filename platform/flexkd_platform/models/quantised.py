"""Load checkpoints in fp32: quantised weights are dequantised, as those of GGUF files are.

A teacher is then like any other: it can be fine-tuned, scored by gradients, and cut.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..model_info.checkpoint import CONFIG, gguf_argument, gguf_of
from ..model_info.errors import ModelError, first_line
from ..model_info.gguf_file import no_bar
from ..model_info.quantised import Quantisation, quantisation_of
from .family import family_of_config

_KEY = "quantization_config"

_NEVER = ("lm_head", "classifier", "score", "classification_head", "pooler", "pre_classifier")
"""Modules that transformers must not expect to be quantised: they may be drawn."""


def without_quantisation(config: Any) -> Any:
    """A config as that of the dequantised model."""
    if hasattr(config, _KEY):
        delattr(config, _KEY)
    return config


def from_checkpoint(auto: Any, folder: Path, config: Any) -> tuple[Any, dict[str, Any]]:
    """A model in fp32 on the CPU and transformers' report about the loading.

    auto: the class whose `from_pretrained` is called.
    config: of the model, without quantisation.

    Raises:
        ModelError: it is quantised and cannot be dequantised.
    """
    found = None if gguf_of(folder) else quantisation_of(folder / CONFIG)
    arguments: dict[str, Any] = gguf_argument(folder)
    if found is not None:
        setattr(config, _KEY, _settings(found, _heads(config)))
        arguments["device_map"] = {"": "cpu"}
    try:
        with no_bar(gguf_of(folder)), no_kernel_warnings():
            model, report = auto.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **arguments,
            )
            if found is not None:
                model = _plain(model, found)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        if found is None:
            raise
        raise ModelError(
            f"{folder} is quantised ({found}) and cannot be dequantised: {first_line(error)}",
            "name the model before it was quantised",
        ) from error
    return model, report


def _plain(model: Any, found: Quantisation) -> Any:
    """The dequantised weights in a new model, which transformers saves like any other."""
    if found.method == "bitsandbytes":
        model = model.dequantize(torch.float32)
    weights = {name: weight.float() for name, weight in model.state_dict().items()}
    config = without_quantisation(model.config)
    return type(model).from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)


def _heads(config: Any) -> set[str]:
    """Modules outside of the layers that a checkpoint of this architecture may lack."""
    family = family_of_config(config)
    names = (family.head, *family.output_names, *family.optional)
    return {name.partition(".")[0] for name in names} - {""}


def _settings(found: Quantisation, heads: Iterable[str]) -> dict[str, Any]:
    """The config's section, so that transformers dequantises what is quantised and nothing else."""
    values = dict(found.values)
    if found.method == "fp8":
        return {**values, "dequantize": True}
    skipped = values.get("llm_int8_skip_modules") or []
    return {
        **values,
        "quant_method": found.method,
        "llm_int8_skip_modules": sorted({*skipped, *_NEVER, *heads}),
    }


@contextmanager
def no_kernel_warnings() -> Iterator[None]:
    """Without bitsandbytes' warnings about kernels that nothing here calls; PEFT imports it."""
    log = logging.getLogger("bitsandbytes")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
