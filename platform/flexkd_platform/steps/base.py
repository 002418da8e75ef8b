"""Publishes an untrained model, created from a config, and a tokenizer trained on the data."""

from __future__ import annotations

from collections.abc import Iterator

from ..artifacts import Artifacts, read_rows
from ..data import texts_of
from ..models import make_base
from ..plan import BaseConfig
from ..tracking import Progress
from .context import Output, RunContext


def run(
    config: BaseConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish `model/`, the output of `save_pretrained`."""
    table = read_rows(inputs.folder(config.dataset), "train")
    columns = [n for n in ("text", "text_pair", "prompt", "response") if n in table.column_names]
    found = (text for name in columns for text in texts_of(table, name))
    texts = (text for text in found if text is not None)
    with out.publish() as draft:
        make_base(
            config.model.config,
            config.model.vocab_size,
            texts,
            config.model.seed,
            draft.folder / "model",
            language_model=config.language_model,
        )
    return iter(())
