"""The base step: an untrained model made from a config, its tokenizer trained on the data."""

from __future__ import annotations

from ..data import texts_of
from ..models import make_base
from ..plan import Step
from ..store import Store
from .dataset import read_rows


def make_base_model(step: Step, store: Store) -> None:
    """Publish `model/`, as `save_pretrained` writes it."""
    identity = step.identity
    table = read_rows(store.folder(step.needs["dataset"]), "train")
    columns = [n for n in ("text", "text_pair", "prompt", "response") if n in table.column_names]
    found = (text for name in columns for text in texts_of(table, name))
    texts = (text for text in found if text is not None)
    with store.publish(step) as draft:
        make_base(
            identity["config"],
            identity["vocab_size"],
            texts,
            identity["seed"],
            draft.folder / "model",
            language_model=identity["language_model"],
        )
