"""Load tokenizers and classifiers from checkpoints: complete, in fp32 and in eval mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from ..artifacts import LabelUnit
from ..model_info.adapter import adapter_of, base_folder, tokenizer_folder
from ..model_info.checkpoint import gguf_argument, gguf_of, read_shapes, require_tokenizer_files
from ..model_info.errors import ModelError, first_line
from ..model_info.gguf_file import read_once
from ..model_info.hub import Source, folder_of
from ..model_info.quiet import quiet
from ..plan import HeadUse
from ..spec import ModulePaths, counted
from .adapter import adapter_weights, head_of_adapter, merged
from .config_facts import head_outputs, read_config
from .config_keys import set_key
from .family import family_of_config, head_reads
from .finite import require_finite
from .head import draw_linear, head_modules, reorder_outputs, set_class_names
from .label_unit import convert_output, forget_unit
from .quantised import from_checkpoint
from .random_state import kept_random_state


def load_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a padding token: the end-of-text token if it has none.

    Raises:
        ModelError: it is missing, broken, or has neither token.
    """
    folder = tokenizer_folder(folder_of(source, weights=False))
    # Checked here: if files are missing, transformers creates a tokenizer of five words.
    require_tokenizer_files(folder)
    gguf = gguf_of(folder)
    try:
        tokenizer = (
            _parsed(folder)
            if gguf is None
            else read_once("tokenizer", gguf, lambda: _parsed(folder))
        )
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ModelError(
            f"the tokenizer in {folder} cannot be read: {first_line(error)}",
            "copy it again, or save it again with the tokenizer's save_pretrained",
        ) from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"the tokenizer in {folder} has special tokens only, {len(tokenizer)} of them",
            "copy its files again",
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer in {folder} has neither a padding nor an end-of-text token",
                "add a pad_token to its tokenizer_config.json",
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_words(words: int, embedded: int, folder: Path) -> None:
    """Raise ModelError if a tokenizer has more words than the model embeds."""
    if words > embedded:
        raise ModelError(
            f"the tokenizer in {folder} has {words} words and the model embeds {embedded}",
            "use the tokenizer that the model was trained with",
        )


def _parsed(folder: Path) -> PreTrainedTokenizerBase:
    # AutoTokenizer would parse a GGUF file's header again, and choose this class.
    auto = PreTrainedTokenizerFast if gguf_of(folder) else AutoTokenizer
    with quiet():
        return auto.from_pretrained(folder, **gguf_argument(folder))


def load_with_head(
    source: Source,
    *,
    outputs: int,
    regression: bool,
    seed: int,
    dropout: float | None = None,
    head: HeadUse | None = None,
    names: Sequence[str] = (),
    unit: LabelUnit | None = None,
    exact: bool = False,
    modules: ModulePaths | None = None,
    multilabel: bool = False,
) -> PreTrainedModel:
    """A model with a classification head, from its checkpoint.

    The head is the checkpoint's own if it holds one with as many outputs, and otherwise drawn
    from `seed`, as is a pooler that the checkpoint lacks. Global random state is unchanged.

    Args:
        source: what `locate` returned.
        outputs: classes, or 1 for regression.
        regression: whether the one output is a value.
        seed: of the drawn weights.
        dropout: set for every dropout of the architecture; None keeps the checkpoint's.
        head: the order of the outputs, or a new head; None uses the checkpoint's as it is.
        names: of the outputs, in the order of the result.
        unit: of the output, for regression; None leaves it.
        exact: whether the model is used without training, as in `convert_output`.
        modules: where the model keeps its parts, if the spec names them.
        multilabel: whether each class is a decision by itself.

    Returns:
        The model on the CPU, in fp32 and in eval mode.

    Raises:
        ModelError: the checkpoint cannot be read, lacks weights of the backbone, or has weights
            that are not finite.
        ValueError: the outputs do not fit the task.
    """
    named = folder_of(source, weights=True)
    folder = base_folder(named)
    with quiet():
        config = read_config(named, modules)
        held = head_outputs(config, family_of_config(config), read_shapes(folder))
        trained = _adapter_head(config, named) or held
        prepare_config(
            config,
            named,
            outputs=outputs,
            regression=regression,
            dropout=dropout,
            multilabel=multilabel,
        )
        with kept_random_state(seed):
            model, report = from_checkpoint(AutoModelForSequenceClassification, folder, config)
    use = head or HeadUse()
    kept = trained == outputs and not use.new
    loaded = held == outputs and not use.new
    drawn_head = [] if loaded else _head_to_draw(model, report["missing_keys"])
    in_head = {f"{module}.{part}" for module in drawn_head for part in ("weight", "bias")}
    missing = report["missing_keys"] - in_head
    wrong = {name for name, *_ in report["mismatched_keys"]} - in_head
    drawn = drawn_head + _drawable(model, missing, wrong)
    draw_linear(model, drawn, seed=seed)
    model = merged(model, named)
    if use.new:
        draw_linear(model, drawn_head, seed=seed)  # an adapter may hold a head too
    require_finite(model.named_parameters(), str(named))
    if kept and use.order:
        reorder_outputs(model, use.order)
    if unit is not None:
        convert_output(model, unit, kept=kept, exact=exact)
    if names or not kept:
        set_class_names(model.config, names)
    return model.eval()


def _adapter_head(config: Any, folder: Path) -> int | None:
    """Outputs of the head that an adapter holds; None without an adapter or a head."""
    adapter = adapter_of(folder)
    if adapter is None:
        return None
    return head_of_adapter(adapter_weights(adapter), family_of_config(config).head)


def prepare_config(
    config: Any,
    folder: Path,
    *,
    outputs: int,
    regression: bool,
    dropout: float | None,
    multilabel: bool = False,
) -> None:
    """Set a config's head, padding token and dropout.

    Its `problem_type` is what transformers' `pipeline` chooses between a softmax over the classes
    and a sigmoid of each by.

    Raises:
        ValueError: regression with several outputs, or classification with fewer than two.
    """
    if regression and outputs != 1:
        raise ValueError(f"regression has 1 output, not {outputs}")
    if not regression and outputs < 2:
        raise ValueError(f"classification needs at least 2 outputs, not {outputs}")
    config.num_labels = outputs
    if not regression:
        forget_unit(config)  # of a regressor that the model is made from
    of_classes = "multi_label_classification" if multilabel else "single_label_classification"
    config.problem_type = "regression" if regression else of_classes
    if head_reads(config) in ("last", "eos"):
        # The head searches for the last token before the padding, which the tokenizer adds.
        config.pad_token_id = load_tokenizer(folder).pad_token_id
    set_dropout(config, dropout)


def set_dropout(config: Any, dropout: float | None) -> None:
    """Set every dropout of a config's architecture; None leaves them."""
    if dropout is not None:
        for key in family_of_config(config).dropouts:
            set_key(config, key, dropout)


def _head_to_draw(model: PreTrainedModel, missing: set[str]) -> list[str]:
    """The head's modules but those that come with the pretrained backbone, if they are there."""
    kept = family_of_config(model.config).pretrained_head
    return [
        name
        for name in head_modules(model)
        if not f"{name}.".startswith(kept) or f"{name}.weight" in missing
    ]


def _drawable(model: PreTrainedModel, missing: set[str], wrong: set[str]) -> list[str]:
    """Modules to draw for weights that a checkpoint lacks; only optional ones may be missing."""
    optional = tuple(
        f"{model.base_model_prefix}.{prefix}" for prefix in family_of_config(model.config).optional
    )
    lost = sorted({name for name in missing if not name.startswith(optional)} | wrong)
    if lost:
        raise ModelError(
            f"the checkpoint lacks {counted(len(lost), 'weight')} of a "
            f"{model.config.model_type} model, "
            f"or has them in another shape, as {lost[0]}",
            "name the folder that its model was saved to, config and weights together",
        )
    return sorted({name.rpartition(".")[0] for name in missing})
