"""A BERT encoder as an ONNX graph, with the names that PyTorch's exporter gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertModel

PREFIX = "model.0.auto_model."


class _Graph:
    """Collects nodes; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}

    def node(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        """One node with one output."""
        from onnx import helper

        output = f"{name or kind}_output_{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output], name=name, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, value: Any) -> str:
        """A constant node."""
        from onnx.numpy_helper import from_array

        return self.node("Constant", [], value=from_array(np.asarray(value)))

    def linear(self, x: str, path: str, state: dict[str, np.ndarray]) -> str:
        """x Wᵀ + b, the matrix anonymous and transposed."""
        matrix = f"onnx::MatMul_{400 + len(self.weights)}"
        self.weights[matrix] = np.ascontiguousarray(state[f"{path}.weight"].T)
        self.weights[f"{PREFIX}{path}.bias"] = state[f"{path}.bias"]
        number, _, module = path.removeprefix("encoder.layer.").partition(".")
        name = f"/model/model.0/auto_model/encoder/layer.{number}/{module.replace('.', '/')}"
        product = self.node("MatMul", [x, matrix], f"{name}/MatMul")
        return self.node("Add", [f"{PREFIX}{path}.bias", product], f"{name}/Add")

    def norm(self, x: str, path: str, state: dict[str, np.ndarray], epsilon: float) -> str:
        """Layer normalization."""
        names = [f"{PREFIX}{path}.{each}" for each in ("weight", "bias")]
        for name in names:
            self.weights[name] = state[name.removeprefix(PREFIX)]
        return self.node(
            "LayerNormalization", [x, *names], f"/{path}/LayerNormalization", epsilon=epsilon
        )


def bert_graph(model: BertModel, file: Path) -> None:
    """Write a model without a pooler; its one output is the last hidden state."""
    from onnx import TensorProto, helper, save
    from onnx.numpy_helper import from_array

    config = model.config
    state = {name: weight.numpy() for name, weight in model.state_dict().items()}
    state = {name: array for name, array in state.items() if array.dtype == np.float32}
    graph = _Graph()
    tables = [f"embeddings.{each}_embeddings.weight" for each in ("word", "position", "token_type")]
    for name in tables:
        graph.weights[PREFIX + name] = state[name]
    shape = graph.node("Shape", ["input_ids"])
    length = graph.node("Gather", [shape, graph.constant(np.int64(1))])
    places = graph.node("Range", [graph.constant(np.int64(0)), length, graph.constant(np.int64(1))])
    words = graph.node("Gather", [PREFIX + tables[0], "input_ids"])
    positions = graph.node("Gather", [PREFIX + tables[1], places])
    types = graph.node("Gather", [PREFIX + tables[2], graph.constant(np.zeros(1, np.int64))])
    x = graph.node("Add", [graph.node("Add", [words, types]), positions])
    x = graph.norm(x, "embeddings.LayerNorm", state, config.layer_norm_eps)
    bias = _mask(graph)
    for number in range(config.num_hidden_layers):
        x = _layer(graph, x, bias, f"encoder.layer.{number}", state, config)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "length", "width"])
    constants = [from_array(array, name) for name, array in graph.weights.items()]
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], constants)
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), str(file))


def _mask(graph: _Graph) -> str:
    """0 for tokens and a large negative number for padding, (B, 1, 1, T)."""
    from onnx import TensorProto

    kept = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    missing = graph.node("Sub", [graph.constant(np.float32(1)), kept])
    bias = graph.node("Mul", [missing, graph.constant(np.float32(-3e38))])
    return graph.node("Unsqueeze", [bias, graph.constant(np.array([1, 2]))])


def _layer(
    graph: _Graph, x: str, bias: str, path: str, state: dict[str, np.ndarray], config: Any
) -> str:
    """Attention and feed-forward part, each with a residual and a norm."""
    heads, width = config.num_attention_heads, config.hidden_size
    name = f"/model/model.0/auto_model/encoder/layer.{path.rsplit('.', 1)[1]}/attention/self"
    split = graph.constant(np.array([0, 0, heads, width // heads]))
    sides = []
    for side in ("query", "key", "value"):
        flat = graph.linear(x, f"{path}.attention.self.{side}", state)
        whole = graph.node("Reshape", [flat, split])
        sides.append(graph.node("Transpose", [whole], perm=[0, 2, 1, 3]))
    key = graph.node("Transpose", [sides[1]], perm=[0, 1, 3, 2])
    scores = graph.node("MatMul", [sides[0], key], f"{name}/MatMul")
    scale = graph.constant(np.float32(np.sqrt(width // heads)))
    scaled = graph.node("Div", [scores, scale], f"{name}/Div")
    shares = graph.node("Softmax", [graph.node("Add", [scaled, bias])], axis=-1)
    mixed = graph.node("MatMul", [shares, sides[2]], f"{name}/MatMul_1")
    mixed = graph.node("Transpose", [mixed], perm=[0, 2, 1, 3])
    mixed = graph.node("Reshape", [mixed, graph.constant(np.array([0, 0, width]))])
    attended = graph.linear(mixed, f"{path}.attention.output.dense", state)
    x = graph.node("Add", [attended, x])
    x = graph.norm(x, f"{path}.attention.output.LayerNorm", state, config.layer_norm_eps)
    inner = graph.linear(x, f"{path}.intermediate.dense", state)
    erf = graph.node("Erf", [graph.node("Div", [inner, graph.constant(np.float32(np.sqrt(2)))])])
    gate = graph.node("Add", [erf, graph.constant(np.float32(1))])
    half = graph.node("Mul", [inner, graph.constant(np.float32(0.5))])
    outer = graph.linear(graph.node("Mul", [half, gate]), f"{path}.output.dense", state)
    x = graph.node("Add", [outer, x])
    return graph.norm(x, f"{path}.output.LayerNorm", state, config.layer_norm_eps)
