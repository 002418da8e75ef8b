"""The facts about a model that are known without loading its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..plan import Stacks
from ..spec import sha256_of
from .adapter import Adapter, adapter_of, own_head
from .checkpoint import CONFIG, TOKENIZER_FILES, weight_files
from .hub import folder_of, pinned

UNLIMITED = 2**31 - 1
"""`max_positions` of a model without an input limit."""


@dataclass(frozen=True)
class ModelFacts:
    """Identity and shape of a model's backbone, that is the model without its head.

    fingerprint: hex SHA-256 over the contents of config, tokenizer and weights; `name@commit` for
        a hub model.
    stacks: one, or encoder and decoder.
    encoder_decoder: whether there are two of them.
    layers, heads, head_size, intermediate_size: of the last stack, which is the decoder if there
        are two; head_size is the width of one attention head, intermediate_size the inner width of
        the feed-forward part. None of a discovered architecture, which need not have them.
    parameters: of the backbone, a pooler included.
    outputs: outputs of the classification head that the checkpoint holds; None without one.
    language_model: whether it holds a language-model head, or ties it to its word embedding.
    vocab_size: rows of the word embedding, padding rows included.
    tokenizer_digest: hex SHA-256 over every token with its id and the ids of the special tokens:
        equal for models that share a tokenizer, whatever the size of their embeddings.
    offsets: whether the tokenizer maps its tokens to the characters of a text.
    max_positions: longest input in tokens; `UNLIMITED` for relative positions.
    config: the whole config as JSON.
    head_reads, left_padding, writes, discovered, unsupported: of its architecture, see `Family`;
        writes is the kind of its language model.
    """

    fingerprint: str
    model_type: str
    hidden_size: int
    stacks: Stacks
    encoder_decoder: bool
    layers: int
    heads: int | None
    head_size: int | None
    intermediate_size: int | None
    parameters: int
    outputs: int | None
    language_model: bool
    vocab_size: int
    tokenizer_digest: str
    max_positions: int
    config: str = field(repr=False)
    offsets: bool = True
    head_reads: str = "first"
    left_padding: bool = True
    writes: str | None = None
    discovered: bool = False
    unsupported: Mapping[str, str] = field(default_factory=dict)


def folder_fingerprint(folder: Path) -> str:
    """Hex SHA-256 over the names and contents of config, tokenizer and weights.

    An adapter's is over its settings, its weights, its tokenizer and its base. Each file is read
    once per process.
    """
    if (adapter := adapter_of(folder)) is not None:
        return _adapter_fingerprint(adapter)
    small = [folder / name for name in sorted({CONFIG, *TOKENIZER_FILES})]
    files = [file for file in small if file.is_file()] + weight_files(folder)
    return sha256_of([[file.name, _file_sha256(file)] for file in files])


def _adapter_fingerprint(adapter: Adapter) -> str:
    tokenizer = [adapter.folder / name for name in TOKENIZER_FILES]
    files = [file for file in tokenizer if file.is_file()] + [adapter.weights]
    base = (
        folder_fingerprint(adapter.base)
        if isinstance(adapter.base, Path)
        else pinned(adapter.base, folder_of(adapter.base, weights=False))
    )
    parts = [[file.name, _file_sha256(file)] for file in files]
    head = {"head": found} if (found := own_head(adapter)) else {}
    return sha256_of({"adapter": adapter.properties(), "files": parts, "base": base, **head})


_hashed: dict[tuple[Path, int, int], str] = {}


def _file_sha256(file: Path) -> str:
    stat = file.stat()
    key = (file.resolve(), stat.st_size, stat.st_mtime_ns)
    if key not in _hashed:
        with file.open("rb") as stream:
            _hashed[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashed[key]
