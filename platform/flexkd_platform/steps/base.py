"""Publishes an untrained model, created from a config, and a tokenizer trained on the data."""

from __future__ import annotations

from collections.abc import Iterator

from ..artifacts import Artifacts, read_rows
from ..data import training_texts
from ..models import make_base
from ..plan import BaseConfig
from ..tracking import Progress
from .context import Output, RunContext


def run(
    config: BaseConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish `model/`, the output of `save_pretrained`."""
    table = read_rows(inputs.folder(config.dataset), "train")
    with out.publish() as draft:
        make_base(
            config.model.config,
            config.model.vocab_size,
            training_texts(table),
            config.model.seed,
            draft.folder / "model",
            language_model=config.language_model,
        )
    return iter(())
