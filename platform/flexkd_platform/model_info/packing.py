"""Architectures that keep packed examples apart."""

from __future__ import annotations

PACKED = frozenset(
    {
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_neox",
        "llama",
        "mistral",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
    }
)
"""By `model_type`: from positions that restart within a row, transformers makes an attention mask
that is causal within each example. A test compares the outputs and gradients of each with those of
single examples. OPT does not give its positions to the mask."""
