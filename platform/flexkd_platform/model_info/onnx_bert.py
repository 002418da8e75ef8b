"""Convert a BERT encoder from ONNX, as PyTorch exports it, to `config.json` and safetensors.

PyTorch keeps the names of embeddings, biases and norms. The matrices of its linear layers are
anonymous and transposed; their names are those of the nodes that multiply with them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from .checkpoint import CONFIG, TOKENIZER_FILES, WEIGHTS
from .errors import ModelError

Array = NDArray[np.float32]

_WORDS = "embeddings.word_embeddings.weight"
_MATRIX = re.compile(r"encoder/layer\.\d+/.+(?=/MatMul$)")
_SCALE = re.compile(r"/encoder/layer\.0/attention/self/Div$")
_OF_LAYER = (
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)


def convert_bert(files: Sequence[Path], folder: Path, tokenizer: Path | None = None) -> None:
    """Write a BERT encoder without a pooler, fp32, and the tokenizer of another folder.

    Args:
        files: the ONNX file alone.
        folder: where the files are written.
        tokenizer: the folder whose tokenizer files are copied; none are if it is None.

    Raises:
        ModelError: `onnx` is not installed, the file is not ONNX, or not such a BERT
            encoder: fp32 weights, GELU, scaled attention, and one norm after each part.
    """
    (file,) = files
    graph = _graph(file)
    arrays = _arrays(graph)
    weights = _weights(graph, arrays)
    config = _config(graph, weights, arrays, file)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES if tokenizer is not None else ():
        assert tokenizer is not None
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)


def _graph(file: Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise ModelError(
            f"{file.name} is an ONNX file, and the package onnx is not installed",
            "pip install 'flexkd[onnx]'; it is needed once, to convert the model",
        ) from None
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(file)).graph
    except DecodeError:
        raise ModelError(f"{file} is not an ONNX file", "install its package again") from None


def _arrays(graph: Any) -> dict[str, NDArray[Any]]:
    """Every constant of the graph, by name."""
    from onnx.numpy_helper import to_array

    found = {each.name: to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = to_array(node.attribute[0].t)
    return found


def _weights(graph: Any, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
    """The weights by their names in transformers' `BertModel`."""
    named = next((name for name in arrays if name.endswith(_WORDS)), "")
    prefix = named.removesuffix(_WORDS)
    found = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith((prefix + "embeddings.", prefix + "encoder."))
    }
    for node in graph.node:
        match = _MATRIX.search(node.name) if node.op_type == "MatMul" else None
        if match and node.input[1] in arrays:
            name = f"{match[0].replace('/', '.')}.weight"
            found[name] = np.ascontiguousarray(arrays[node.input[1]].T)
    return found


def _config(
    graph: Any, weights: Mapping[str, Array], arrays: Mapping[str, NDArray[Any]], file: Path
) -> dict[str, Any]:
    """The config that the shapes and constants of the graph describe."""
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    if missing := _expected(layers) ^ set(weights):
        raise _foreign(file, f"its weights differ from BERT's, as {min(missing)}")
    if not all(array.dtype == np.float32 for array in weights.values()):
        raise _foreign(file, "its weights are not fp32")
    scales = [
        float(arrays[node.input[1]])
        for node in graph.node
        if node.op_type == "Div" and _SCALE.search(node.name) and node.input[1] in arrays
    ]
    if len(scales) != 1:
        raise _foreign(file, "the scale of its attention was not found")
    kinds = {node.op_type for node in graph.node}
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    if "Erf" not in kinds or len(norms) != 2 * layers + 1:
        raise _foreign(file, "it has another activation or other norms")
    vocab, width = weights[_WORDS].shape
    epsilon = next((a.f for a in norms[0].attribute if a.name == "epsilon"), 1e-5)
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": layers,
        # Attention is divided by the root of the width of a head.
        "num_attention_heads": round(width / scales[0] ** 2),
        "intermediate_size": len(weights["encoder.layer.0.intermediate.dense.bias"]),
        "hidden_act": "gelu",
        # The attribute is fp32.
        "layer_norm_eps": float(f"{epsilon:.6g}"),
        "max_position_embeddings": len(weights["embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(weights["embeddings.token_type_embeddings.weight"]),
        "vocab_size": vocab,
        "pad_token_id": 0,
    }


def _expected(layers: int) -> set[str]:
    """The names of the weights of a BERT encoder without a pooler."""
    tables = (f"embeddings.{each}_embeddings.weight" for each in ("word", "position", "token_type"))
    modules = [f"encoder.layer.{n}.{module}" for n in range(layers) for module in _OF_LAYER]
    pairs = [f"{m}.{p}" for m in ["embeddings.LayerNorm", *modules] for p in ("weight", "bias")]
    return {*tables, *pairs} if layers else {_WORDS}


def _foreign(file: Path, why: str) -> ModelError:
    return ModelError(
        f"{file} is not a BERT encoder as PyTorch exports it: {why}",
        "name a checkpoint in safetensors",
    )
