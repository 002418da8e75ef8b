"""Merge a PEFT adapter into its base model, and check that the two fit.

Every kind of adapter is merged by PEFT itself. Its config has dozens of settings (rsLoRA, DoRA,
ranks by layer, modules saved whole); a merge of our own that ignored one would give other weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from ..model_info.adapter import Adapter, adapter_of
from ..model_info.checkpoint import ADAPTER_CONFIG
from ..model_info.errors import ModelError, first_line
from ..model_info.quiet import quiet
from .family import family_of_config
from .finite import require_finite
from .quantised import no_kernel_warnings

PREFIX = "base_model.model."
"""Start of every name in an adapter's file; the rest is a name in the base model."""


def merged(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """A model with the adapter of the folder that it was named by, if there is one."""
    adapter = adapter_of(folder)
    return model if adapter is None else merge_adapter(model, adapter)


def merge_adapter(model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """The base with the adapter's change in its weights, in the base's dtype; fp32 for ours.

    A classification head that the adapter holds replaces the base's if it has as many outputs.

    Raises:
        ModelError: the adapter cannot be read, or was made for another base.
    """
    weights = adapter_weights(adapter)
    with silent_peft():
        wrapped, named = _fitted(model, adapter, weights, drawn=True)
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(wrapped, named)
        merged: PreTrainedModel = wrapped.merge_and_unload(safe_merge=True)
    return merged.requires_grad_(True).eval()


def check_fit(model: PreTrainedModel, adapter: Adapter, weights: Mapping[str, Tensor]) -> None:
    """Raise ModelError unless an adapter fits a base model, which is on the `meta` device."""
    with silent_peft(), torch.device("meta"):
        _fitted(model, adapter, weights, drawn=False)


def adapter_weights(adapter: Adapter) -> dict[str, Tensor]:
    """The adapter's tensors by their names in its file, on the CPU.

    Raises:
        ModelError: the file is not a safetensors file, or a pickle of something else, or it holds
            weights that are not finite.
    """
    file = adapter.weights
    try:
        if file.suffix == ".safetensors":
            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise _unreadable(adapter, first_line(error)) from error
    except Exception as error:  # unpickling raises errors of many classes
        raise _unreadable(adapter, type(error).__name__) from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _unreadable(adapter, "it holds other things than tensors")
    require_finite(found.items(), str(adapter.folder))
    return found


def _unreadable(adapter: Adapter, why: str) -> ModelError:
    return ModelError(
        f"{adapter.describe()}; its {adapter.weights.name} cannot be read: {why}",
        "copy it again, or save the adapter again with PEFT's save_pretrained",
    )


def head_of_adapter(weights: Mapping[str, Tensor], name: str) -> int | None:
    """Outputs of the classification head that an adapter holds; None without one.

    name: of the head's weight in the architecture.
    """
    head = weights.get(f"{PREFIX}{name}")
    return None if head is None else head.shape[0]


def _fitted(
    model: PreTrainedModel, adapter: Adapter, weights: Mapping[str, Tensor], *, drawn: bool
) -> tuple[Any, dict[str, Tensor]]:
    """The base in PEFT's wrapper, and the adapter's weights by their names in it.

    drawn: whether the adapter's initialization runs, which some kinds derive from the base.
    """
    from peft import PeftModel, get_peft_model_state_dict

    given = _in_model(model, weights)
    _require_untied(model, given, adapter)
    config = _peft_config(adapter)
    saved = [name for name in config.modules_to_save or [] if _holds(given, name)]
    if config.modules_to_save is not None:
        config.modules_to_save = saved or None
    config.inference_mode = True
    if not drawn and hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True
    try:
        wrapped = PeftModel(model, config)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"{adapter.describe()} does not fit the base: {first_line(error)}",
            f"name the model that it was trained on as base_model_name_or_path in {ADAPTER_CONFIG}",
        ) from error
    expected = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    # PEFT saves an adapted embedding or head whole, too.
    whole = {name: weight for name, weight in wrapped.state_dict().items() if name in given}
    _require_same({**whole, **expected}, given, adapter)
    return wrapped, given


def _peft_config(adapter: Adapter) -> Any:
    from peft import PeftConfig

    try:
        return deepcopy(PeftConfig.from_pretrained(str(adapter.folder)))
    except Exception as error:  # dataclasses of PEFT raise errors of many classes
        raise ModelError(
            f"{adapter.folder / ADAPTER_CONFIG} is not a config that PEFT reads: "
            f"{first_line(error)}",
            "save the adapter again with PEFT's save_pretrained, or install its version of PEFT",
        ) from error


def _in_model(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by names of this model: with or without the backbone's prefix.

    Heads of other tasks are left out, and a classification head with another number of outputs.
    """
    modules = {name for name, _ in model.named_modules()}
    prefix = f"{model.base_model_prefix}."
    backbone = any(name.startswith(prefix) for name in modules)
    own = dict(model.named_parameters())
    found = {}
    for name, weight in weights.items():
        inner = name.removeprefix(PREFIX)
        top = inner.partition(".")[0]
        if backbone and top not in modules and prefix + top in modules:
            inner = prefix + inner
        elif not backbone:
            inner = inner.removeprefix(prefix)
        top = inner.partition(".")[0]
        if top not in modules and _is_head(inner, model):
            continue
        if _is_head(inner, model) and inner in own and own[inner].shape != weight.shape:
            continue
        found[PREFIX + inner] = weight
    return found


def _is_head(name: str, model: PreTrainedModel) -> bool:
    """Whether a weight is of a head, which lies outside of the backbone: score, lm_head, …"""
    family = family_of_config(model.config)
    heads = {each.partition(".")[0] for each in ("lm_head", family.head, *family.output_names)}
    return name.partition(".")[0] in heads - {""}


def _holds(given: Mapping[str, Tensor], module: str) -> bool:
    return any(f".{module}." in name for name in given)


def _require_same(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], adapter: Adapter
) -> None:
    other = sorted(expected.keys() ^ given.keys())
    wrong = sorted(
        name for name in expected.keys() & given.keys() if expected[name].shape != given[name].shape
    )
    if not other and not wrong:
        return
    if other:
        name = other[0]
        what = "is missing" if name in expected else "has no place in the base"
        text = f"{len(other)} of {len(expected)} weights differ, as {name}, which {what}"
    else:
        name = wrong[0]
        text = (
            f"{len(wrong)} of {len(expected)} weights with another shape, as {name}, which is "
            f"{tuple(given[name].shape)} and should be {tuple(expected[name].shape)}"
        )
    raise ModelError(
        f"{adapter.describe()} and does not fit it: {text}",
        f"name the model that it was trained on as base_model_name_or_path in {ADAPTER_CONFIG}",
    )


def _require_untied(model: PreTrainedModel, given: Mapping[str, Tensor], adapter: Adapter) -> None:
    """Refuse an adapter of one of two tied weights: after a merge they would differ."""
    tied = getattr(model, "all_tied_weights_keys", {})
    names = {name.rpartition(".")[0] for pair in tied.items() for name in pair}
    for name in given:
        module = name.removeprefix(PREFIX)
        if any(module.startswith(f"{tied_name}.") for tied_name in names):
            raise ModelError(
                f"{adapter.describe()} and changes {module}, which the base ties to another weight",
                "train the adapter without the word embedding and the language-model head",
            )


@contextmanager
def silent_peft() -> Iterator[None]:
    """Without PEFT's warnings: what they report is checked here."""
    with quiet(), no_kernel_warnings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
