"""A world small enough for a job in a second: 4-letter words, a random BERT, 26 examples."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from .command_server import commands
from .lab import fresh, lab, world
from .object_store import s3_server, s3_uri
from .tiny_jobs import heard, material, plan_of, spec_of, store_with

__all__ = [
    "commands",
    "fresh",
    "heard",
    "lab",
    "material",
    "plan_of",
    "s3_server",
    "s3_uri",
    "spec_of",
    "store_with",
    "tiny_world",
    "world",
]

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOOD, BAD = ["fine", "good", "nice"], ["dull", "poor", "weak"]
NEUTRAL = ["film", "plot", "cast", "tone", "very", "this"]
RARE = "once"  # stands in one training example only


def save_bert(folder: Path, words: list[str], **sizes: int) -> Path:
    """A random BERT without a head, and its tokenizer, as `save_pretrained` writes them."""
    folder.mkdir()
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(SPECIAL + words))
    tokenizer = BertTokenizer(str(vocabulary))
    vocabulary.unlink()
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4} | sizes
    config = BertConfig(
        vocab_size=len(tokenizer), intermediate_size=32, max_position_embeddings=16, **shape
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config)
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name:
                torch.nn.init.normal_(parameter, std=0.25)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_data(folder: Path, *, regression: bool) -> Path:
    """26 training, 9 validation and 11 test examples of 1 to 9 words."""
    folder.mkdir()
    draw = random.Random(0)
    for split, rows in (("train", 26), ("validation", 9), ("test", 11)):
        lines = []
        for place in range(rows):
            label = place % 2
            words = draw.choices(NEUTRAL, k=draw.randint(0, 6))
            words += draw.choices((BAD, GOOD)[label], k=draw.randint(1, 2))
            draw.shuffle(words)
            if split == "train" and place == 13:
                words.append(RARE)
            value = label + len(words) / 10 if regression else label
            lines.append(json.dumps({"text": " ".join(words), "label": value}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher, a student with words of its own, and data."""
    folder = tmp_path_factory.mktemp("tiny")
    words = [*GOOD, *BAD, *NEUTRAL, RARE]
    save_bert(folder / "teacher", words)
    save_bert(folder / "own", [*reversed(words), "more"], hidden_size=12, num_hidden_layers=1)
    write_data(folder / "reviews", regression=False)
    write_data(folder / "ratings", regression=True)
    return folder
