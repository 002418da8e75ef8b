"""Export a model to ONNX, and compare what it computes there with PyTorch.

Shapes: B examples, T tokens.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from ..model_info.errors import ModelError, first_line
from ..model_info.quiet import quiet

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What an export needs: the format, the exporter, and what compares the outputs."""

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference between outputs in fp32, as a share of the largest output, at least of 1."""


def missing_packages() -> list[str]:
    """The packages of `flexkd[onnx]` that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def export_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Write the forward of a classifier, regressor or causal model, for any batch and length.

    Inputs are `input_ids`, `attention_mask` and, if the tokenizer makes them, `token_type_ids`,
    all int64 (B, T). The output is `logits` (fp32). A causal model has no cache of earlier tokens.

    Raises:
        ModelError: PyTorch cannot export the architecture, or ONNX Runtime computes other outputs.
    """
    wrapped = _Logits(model.eval(), _names(model, tokenizer))
    traced = wrapped.inputs(model, batch=2, tokens=8)
    tokens, examples = torch.export.Dim("tokens"), torch.export.Dim("batch")
    try:
        with quiet(), _silent():
            program: Any = torch.onnx.export(
                wrapped,
                tuple(traced.values()),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=list(traced),
                output_names=["logits"],
                # One tuple: the forward takes its inputs as *args.
                dynamic_shapes=(tuple({0: examples, 1: tokens} for _ in traced),),
            )
            program.save(file)
    except Exception as error:  # the exporter raises errors of many classes
        raise _refusal(model, first_line(error)) from error
    _compare(wrapped, wrapped.inputs(model, batch=3, tokens=5), file)


class _Logits(nn.Module):
    """A model as a function of its inputs in order; returns the logits alone."""

    def __init__(self, model: PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    @override
    def forward(self, *values: Tensor) -> Tensor:
        inputs = dict(zip(self.names, values, strict=True))
        logits: Tensor = self.model(**inputs, use_cache=False).logits
        return logits

    def inputs(self, model: PreTrainedModel, *, batch: int, tokens: int) -> dict[str, Tensor]:
        """Drawn ids, of which the last example has padding at its end."""
        generator = torch.Generator().manual_seed(batch)
        ids_BT = torch.randint(model.config.vocab_size, (batch, tokens), generator=generator)
        mask_BT = torch.ones_like(ids_BT)
        mask_BT[-1, tokens - 2 :] = 0
        pad = getattr(model.config, "pad_token_id", None) or 0
        ids_BT = ids_BT.where(mask_BT.bool(), pad)
        known = {"input_ids": ids_BT, "attention_mask": mask_BT}
        return {name: known.get(name, torch.zeros_like(ids_BT)) for name in self.names}


def _names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    types = "token_type_ids" in tokenizer.model_input_names and hasattr(
        model.config, "type_vocab_size"
    )
    return ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]


@torch.no_grad()
def _compare(wrapped: _Logits, inputs: dict[str, Tensor], file: Path) -> None:
    """Raise ModelError unless the file computes the same on another batch of another length."""
    import onnxruntime

    expected = wrapped(*inputs.values())
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    difference = float((torch.from_numpy(found) - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise _refusal(wrapped.model, f"its outputs there differ by {difference:.1e}")


def _refusal(model: Any, why: str) -> ModelError:
    return ModelError(
        f"this {model.config.model_type} model cannot be exported to ONNX: {why}",
        "leave --format onnx out",
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Without the notes of the exporter on operators that it does not use here."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
