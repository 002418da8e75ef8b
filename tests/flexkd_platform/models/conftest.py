"""Tiny models with random weights, saved as people save them, and the installed MiniLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from flexkd_platform.model_info import FAMILIES, ModelFacts
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import check_model

from .. import architectures

WORDS = ["a", "good", "bad", "film", "plot", "very", "##ly", "un", "the", "was"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

SIZES: dict[str, dict[str, Any]] = {
    **architectures.SIZES,
    "bert": {
        "hidden_size": 24,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "intermediate_size": 48,
        "max_position_embeddings": 20,
    },
    "distilbert": {
        "dim": 16,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 32,
        "max_position_embeddings": 20,
    },
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 20},
    "opt": {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 20,
    },
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 20,
    },
    "bart": {
        "d_model": 16,
        "encoder_layers": 3,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 20,
    },
    "t5": {
        "d_model": 16,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "d_kv": 6,
        "d_ff": 32,
    },
}

LANGUAGE_MODELS = {
    kind: {"causal": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}[family.language_model]
    for kind, family in FAMILIES.items()
    if family.language_model is not None
}

Prepare = Callable[..., Path]


def same(a: PreTrainedModel, b: PreTrainedModel) -> bool:
    """Whether two models have the same weights under the same names, to the last bit."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def _wordpiece(folder: Path) -> Any:
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(SPECIAL + WORDS))
    tokenizer = BertTokenizer(str(vocabulary))
    vocabulary.unlink()
    return tokenizer


def _decoder_tokenizer() -> Any:
    """One without a padding token, as GPT-2's."""
    words = {word: place for place, word in enumerate(["<end>", "<unk>", *WORDS])}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", bos_token="<end>", unk_token="<unk>"
    )


def _seq2seq_tokenizer() -> Any:
    """One with a padding token, that ends a text as BART's and T5's do."""
    words = {word: place for place, word in enumerate(["<pad>", "<end>", "<unk>", *WORDS])}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )


def _special(kind: str) -> dict[str, int | None]:
    if kind in ("bert", "distilbert"):
        return {}
    if kind == "modernbert":
        return {"pad_token_id": 0, **dict.fromkeys(("bos_token_id", "cls_token_id"), 2)} | (
            dict.fromkeys(("eos_token_id", "sep_token_id"), 3)
        )
    if FAMILIES[kind].head_reads == "first":
        return {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    if FAMILIES[kind].encoder_decoder:
        start = {"bart": 1, "t5": 0, "mt5": 0}[kind]
        return {
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 1,
            "decoder_start_token_id": start,
        }
    return {"pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Such small models gain nothing from more, and lose much where others need the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make(tmp_path: Path) -> Prepare:
    """Save a tiny model.

    `head` gives it a classification head of that many outputs, `language_model` one to the words,
    `untied` one that is not the word embedding whatever the config says.
    """

    def save(
        kind: str = "bert",
        *,
        name: str = "",
        head: int | None = None,
        language_model: bool = False,
        untied: bool = False,
        seed: int = 0,
        **values: Any,
    ) -> Path:
        folder = tmp_path / (name or f"{kind}-{head}-{language_model}-{seed}")
        folder.mkdir()
        family = FAMILIES[kind]
        if family.head_reads == "first":
            tokenizer = _wordpiece(folder)
        else:
            tokenizer = _seq2seq_tokenizer() if family.encoder_decoder else _decoder_tokenizer()
        special = _special(kind)
        # Whatever tokenizer lies beside a Qwen 2, transformers gives it a padding token.
        words = len(tokenizer) + (kind == "qwen2")
        sizes = SIZES[kind] | special | {"vocab_size": words} | values
        config = AutoConfig.for_model(kind, **sizes)
        if head is not None:
            config.num_labels = head
        torch.manual_seed(seed)
        with quiet():
            auto = AutoModel if head is None else AutoModelForSequenceClassification
            if language_model:
                auto = LANGUAGE_MODELS[kind]
            model = auto.from_config(config)
            if untied:
                model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
                model.all_tied_weights_keys.pop("lm_head.weight", None)
            if language_model and kind == "bart":
                model.final_logits_bias.normal_()
            for parameter in model.parameters():  # biases and norms, too, tell mistakes apart
                torch.nn.init.normal_(parameter, std=0.3)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def facts_at() -> Callable[[Path], ModelFacts]:
    """The facts of a folder that has no problem."""

    def check(folder: Path) -> ModelFacts:
        facts, problems = check_model(str(folder), None, path="teacher.model")
        assert facts is not None, [str(problem) for problem in problems]
        return facts

    return check


@pytest.fixture
def tokens() -> Callable[..., dict[str, torch.Tensor]]:
    """Random input without padding, of words that no tokenizer here treats specially."""

    def draw(rows: int = 3, length: int = 7, seed: int = 0) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        ids_BT = torch.randint(5, 12, (rows, length), generator=generator)
        return {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}

    return draw


@pytest.fixture
def batch_of(tokens: Callable[..., dict[str, torch.Tensor]]) -> Callable[..., Any]:
    """Input of any architecture: an encoder–decoder's source ends, and its target is given."""

    def draw(kind: str) -> dict[str, torch.Tensor]:
        batch = tokens()
        if FAMILIES[kind].encoder_decoder:
            batch["input_ids"][:, -1] = 1
            batch["decoder_input_ids"] = tokens(length=5, seed=1)["input_ids"]
        return batch

    return draw


@pytest.fixture
def data_parallel() -> Iterator[Callable[..., DistributedDataParallel]]:
    """Wrap a module for data parallelism over this process alone.

    Nothing is sent, by a backend without threads. Gloo's threads may wait for the interpreter's
    lock while `destroy_process_group` holds it and waits for them: pytorch/pytorch#56297.
    """
    dist.init_process_group("fake", rank=0, world_size=1, store=FakeStore())

    def wrap(module: torch.nn.Module) -> DistributedDataParallel:
        wrapped = DistributedDataParallel(module)
        wrapped.register_comm_hook(None, noop_hook)
        return wrapped

    yield wrap
    dist.destroy_process_group()
