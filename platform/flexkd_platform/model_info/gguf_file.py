"""Checkpoints in one GGUF file, which holds config, tokenizer and (quantised) weights.

Transformers dequantises them as it loads, with the packages `gguf` and `accelerate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from copy import deepcopy
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from .errors import ModelError, first_line
from .gguf_header import read_header

Shapes = dict[str, tuple[int, ...]]

_LLAMA: dict[str, str] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Names of a Llama's modules: in GGUF → in transformers."""


T = TypeVar("T")

_read: dict[tuple[str, Path, int, int], Any] = {}


def read_once(what: str, file: Path, read: Callable[[], T]) -> T:
    """The cached result of `read` on a GGUF file, as a copy for each caller.

    The file is read once per process while it does not change: transformers takes seconds for the
    vocabulary in a header, and reads it for the config and again for the tokenizer.
    """
    stat = file.stat()
    key = (what, file.resolve(), stat.st_size, stat.st_mtime_ns)
    if key not in _read:
        _read[key] = read()
    copy: T = deepcopy(_read[key])
    return copy


@contextmanager
def no_bar(file: Path | None) -> Iterator[None]:
    """Hide the progress bar that transformers always shows while it dequantises a GGUF file."""
    with nullcontext() if file is None else redirect_stderr(StringIO()):
        yield


def find_gguf(folder: Path) -> Path | None:
    """The one GGUF file of a folder; None without one. Raises ModelError if there are several."""
    files = sorted(folder.glob("[!.]*.gguf"))
    if len(files) > 1:
        raise ModelError(
            f"{folder} holds {len(files)} GGUF files, as {files[0].name} and {files[1].name}",
            "name a folder that holds one",
        )
    return files[0] if files else None


def gguf_shapes(file: Path) -> Shapes:
    """Name (as in transformers) and shape of every weight, from the header.

    Raises:
        ModelError: a required package is missing, or the file is broken or not a Llama.
    """
    missing = [package for package in ("gguf", "accelerate") if find_spec(package) is None]
    if missing:
        raise ModelError(
            f"{file} requires Python packages that are not installed: {', '.join(missing)}",
            f"pip install {' '.join(missing)}, on every machine of the cluster",
        )
    try:
        kind, tensors = read_header(file)
    except ValueError as error:
        raise ModelError(
            f"{file} is not a complete GGUF file: {first_line(error)}", "copy or download it again"
        ) from None
    if kind != "llama":
        raise ModelError(
            f"{file} holds a {kind} model", "GGUF files are read for llama models only"
        )
    return {_name(name): shape for name, shape in tensors.items()}


def _name(name: str) -> str:
    """`blk.3.attn_q.weight` as `model.layers.3.self_attn.q_proj.weight`."""
    module, _, part = name.rpartition(".")
    if not module.startswith("blk."):
        return f"{_LLAMA.get(module, module)}.{part}"
    _, layer, module = module.split(".", 2)
    return f"model.layers.{layer}.{_LLAMA.get(module, module)}.{part}"
