"""Students that train a LoRA adapter (Hu et al. 2021, arXiv:2106.09685): h = W x + (α / r) B A x.

W stays as it is; B begins as 0, so that the student begins as the model without the adapter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from ..model_info.adapter import HEAD_FILE, HEAD_KEYS, adapter_of
from ..model_info.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from ..model_info.errors import ModelError, first_line
from ..model_info.hub import Source, folder_of, split_source
from ..spec import Lora
from .adapter import PREFIX, silent_peft
from .family import family_of_config
from .head import head_modules
from .random_state import kept_random_state
from .saving import save_model

BASE_FOLDER = "base"
"""Folder of the base inside an adapter's folder, for a base that is not saved elsewhere."""


@dataclass(frozen=True, eq=False)
class LoraStudent:
    """A student and its adapter, which is inside of it.

    model: the student; its adapted layers are modules of PEFT.
    wrapped: PEFT's view of it.
    whole: modules outside of the adapter that are trained as well: a classification head, a pooler.
    """

    model: PreTrainedModel
    wrapped: Any
    whole: tuple[str, ...]

    def trainable(self) -> int:
        """How many parameters the training changes."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def parameters(self) -> int:
        """How many parameters the model has without the adapter."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not _added(name))

    def merge(self) -> PreTrainedModel:
        """The model with the adapter in its weights; this object is of no use afterwards."""
        with silent_peft():
            merged: PreTrainedModel = self.wrapped.merge_and_unload(safe_merge=True)
        return merged.requires_grad_(True)

    def save(self, tokenizer: PreTrainedTokenizerBase, folder: Path, base: Source | None) -> None:
        """Write the adapter and the tokenizer to a folder that PEFT and `load_saved` read.

        base: where the model without the adapter is saved; None to save it in the folder `base`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if base is None:
            plain = {
                name.replace(".base_layer.", "."): weight
                for name, weight in self.model.state_dict().items()
                if not _added(name)
            }
            save_model(self.model, tokenizer, folder / BASE_FOLDER, plain)
        weights = self._weights()
        save_file(weights, folder / ADAPTER_WEIGHTS[0], {"format": "pt"})
        name, revision = (BASE_FOLDER, None) if base is None else _named(base)
        values = _json_of(self.wrapped.peft_config["default"]) | {
            "base_model_name_or_path": name,
            "revision": revision,
            "inference_mode": True,
            "modules_to_save": list(self.whole) or None,
        }
        text = json.dumps(values, indent=2, sort_keys=True) + "\n"
        (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
        if self.whole:
            # The head's classes, task and unit, which the base's config does not have.
            config = self.model.config.to_dict()
            head = {key: config[key] for key in HEAD_KEYS if config.get(key) is not None}
            (folder / HEAD_FILE).write_text(json.dumps(head, indent=2) + "\n", encoding="utf-8")
        tokenizer.save_pretrained(folder)

    def _weights(self) -> dict[str, Tensor]:
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(self.wrapped, save_embedding_layers=False)
        own = self.model.state_dict()
        for module in self.whole:
            found |= {f"{PREFIX}{name}": own[name] for name in own if name.startswith(f"{module}.")}
        return {name: weight.detach().cpu().contiguous() for name, weight in found.items()}


def add_lora(model: PreTrainedModel, lora: Lora, *, seed: int) -> LoraStudent:
    """Add an adapter to a student, and freeze its other weights except those of a new head.

    A classification head and a pooler are trained whole: both may be untrained. Global random
    state is unchanged.

    Args:
        model: the student, changed in place.
        lora: checked by `check_lora`.
        seed: of the adapter's A.
    """
    classifies = model.get_output_embeddings() is None
    whole = _whole_modules(model) if classifies else ()
    with silent_peft(), kept_random_state(seed):
        wrapped = _wrapped(model, lora, "SEQ_CLS" if classifies else _task_of(model))
    for name in whole:
        model.get_submodule(name).requires_grad_(True)
    return LoraStudent(model, wrapped.train(model.training), whole)


def check_peft(backbone: PreTrainedModel, lora: Lora) -> None:
    """Raise ModelError if PEFT refuses the adapter, as of Mamba's `out_proj`.

    backbone: on the `meta` device; it is changed.
    """
    try:
        with silent_peft(), torch.device("meta"):
            _wrapped(backbone, lora, "FEATURE_EXTRACTION")
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"PEFT makes no such adapter of a {backbone.config.model_type} model: "
            f"{first_line(error)}",
            "name other modules in target, or train the student without lora",
        ) from error


def _wrapped(model: PreTrainedModel, lora: Lora, task: str) -> Any:
    """A model in PEFT's wrapper, with a new adapter in it."""
    from peft import LoraConfig, PeftModel

    config = LoraConfig(
        task_type=task,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=target_modules(model, lora.target),
    )
    return PeftModel(model, config)


def base_source(source: Source) -> Source | None:
    """Where a pretrained student's base is saved; None if it is itself merged from an adapter."""
    return None if adapter_of(folder_of(source, weights=False)) else source


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Full names of the linear modules inside the hidden layers of a model or a backbone."""
    backbone: nn.Module = model.base_model
    prefix = "" if backbone is model else f"{model.base_model_prefix}."
    starts = tuple(f"{stack.path}." for stack in family_of_config(model.config).stacks.values())
    return [
        prefix + name
        for name, module in backbone.named_modules()
        if name.startswith(starts) and isinstance(module, nn.Linear | Conv1D)
    ]


def target_modules(model: PreTrainedModel, target: str | Sequence[str]) -> list[str]:
    """Full names of the modules that `lora.target` selects.

    Raises:
        ModelError: a name selects none.
    """
    names = linear_layers(model)
    if isinstance(target, str):
        return names
    for wanted in target:
        if not any(_selects(wanted, name) for name in names):
            short = sorted({re.sub(r".*\.\d+\.", "", name) for name in names})
            raise ModelError(
                f"{wanted!r} is not a linear module of this student's layers",
                f"give all-linear, or some of {', '.join(short)}",
            )
    return [name for name in names if any(_selects(wanted, name) for wanted in target)]


def _selects(wanted: str, name: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")


def _whole_modules(model: PreTrainedModel) -> tuple[str, ...]:
    optional = [
        f"{model.base_model_prefix}.{prefix.removesuffix('.')}"
        for prefix in family_of_config(model.config).optional
    ]
    modules = {name for name, _ in model.named_modules()}
    return (*(name for name in optional if name in modules), *head_modules(model))


def _task_of(model: PreTrainedModel) -> str:
    return "SEQ_2_SEQ_LM" if family_of_config(model.config).encoder_decoder else "CAUSAL_LM"


def _added(name: str) -> bool:
    return ".lora_" in name


def _named(base: Source) -> tuple[str, str | None]:
    return (str(base), None) if isinstance(base, Path) else split_source(base)


def _json_of(config: Any) -> dict[str, Any]:
    """The config as JSON values; sets sorted, so that equal configs have equal files."""
    plain = {key: sorted(v) if isinstance(v, set) else v for key, v in config.to_dict().items()}
    found: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return found
