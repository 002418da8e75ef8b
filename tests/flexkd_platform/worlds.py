"""Tiny models of every architecture, made from a config, and a dozen examples of every task."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

SIZES: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    },
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 32},
    "opt": {
        "hidden_size": 16,
        "word_embed_proj_dim": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 32,
        "max_position_embeddings": 32,
    },
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    },
    "bart": {
        "d_model": 16,
        "encoder_layers": 3,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 32,
    },
    "t5": {
        "d_model": 16,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "d_kv": 4,
        "d_ff": 32,
    },
}

WORLDS = [
    ("bert", "classification"),
    ("gpt2", "classification"),
    ("gpt2", "regression"),
    ("gpt2", "instruction"),
    ("opt", "instruction"),
    ("llama", "instruction"),
    ("bart", "summarization"),
    ("t5", "summarization"),
]
"""Which architecture is tried on which task."""

GENERATION = {"instruction", "summarization"}
MAX_PROMPT, MAX_RESPONSE, MAX_LENGTH = 6, 3, 6  # some examples are longer
SPLITS = {"train": 12, "validation": 4, "test": 5}
CHUNK = 5  # 12 examples are chunks of 5, 5 and 2

WORDS = ["red", "blue", "tall", "tree", "stone", "river", "runs", "falls", "near", "old"]


def write_examples(folder: Path, task: str) -> None:
    """Texts of 2 to 8 words; a response repeats some of them, a label counts them."""
    folder.mkdir(parents=True)
    draw = random.Random(1)
    for split, rows in SPLITS.items():
        lines = []
        for place in range(rows):
            words = draw.choices(WORDS, k=draw.randint(2, 8))
            text, answer = " ".join(words), " ".join(words[: draw.randint(1, 3)])
            lines.append(
                {
                    "classification": {"text": text, "label": place % 3},
                    "regression": {"text": text, "label": len(words) / 4},
                    "instruction": {"instruction": text, "output": answer},
                    "summarization": {"document": text, "summary": answer},
                }[task]
            )
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / f"{split}.jsonl").write_text(text + "\n", encoding="utf-8")


def job(architecture: str, task: str) -> str:
    """A job on one architecture; {data} stands for the folder of its examples.

    Every step of a training is on all examples: what is minimised stays the same.
    """
    lengths = (
        {"max_prompt": MAX_PROMPT, "max_response": MAX_RESPONSE}
        if task in GENERATION
        else {"max_length": MAX_LENGTH}
    )
    scale = {"t5": "initializer_factor", "bart": "init_std", "opt": "init_std"}
    recipe = {"batch_size": 12, "learning_rate": 3e-3, "warmup_share": 0, "epochs": 6}
    spec: dict[str, Any] = {
        "name": "tiny",
        "task": {"kind": task, "data": {"source": "files", "path": "DATA"}, **lengths},
        "teacher": {
            "model": {
                "config": {
                    "model_type": architecture,
                    # Weights large enough for outputs, and gradients, that differ.
                    scale.get(architecture, "initializer_range"): 0.3,
                    **SIZES[architecture],
                },
                "vocab_size": 400,
            },
            "finetune": recipe,
        },
        "student": {
            "init": {"kind": "sliced", "layers": 2, "hidden_size": 8, "weights": "finetuned"}
        },
        "score": {"chunk": CHUNK},
        "distill": recipe,
        "sweep": {"methods": [{"kind": "ft"}], "seeds": [10]},
    }
    if task == "instruction":
        spec["task"]["template"] = "none"
        spec["evaluate"] = {"decoding": {"kind": "greedy"}, "max_new_tokens": 4}
    if task == "summarization":
        beam = {"kind": "beam", "beams": 2}
        spec["evaluate"] = {"decoding": beam, "max_new_tokens": 4}
    text: str = yaml.safe_dump(spec)
    return text.replace("{", "{{").replace("}", "}}").replace("DATA", "{data}")
