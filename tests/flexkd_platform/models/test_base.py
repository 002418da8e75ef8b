"""Models from a config alone: what is checked, and what is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flexkd_platform.model_info import FAMILIES, ModelError, ModelFacts
from flexkd_platform.models import (
    check_config,
    check_model,
    load_language_model,
    load_tokenizer,
    load_with_head,
    make_base,
)
from flexkd_platform.models.check_config import config_from

from ..architectures import SIZES

Facts = Callable[[Path], ModelFacts]

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 24,
    },
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 24},
    "opt": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 24,
    },
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 24,
        "tie_word_embeddings": True,
    },
    "bart": {
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 24,
    },
    "t5": {
        "d_model": 16,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "d_kv": 4,
        "d_ff": 32,
    },
}
# A language model that is only planned is known by its tied head.
_TIED = {"tie_word_embeddings": True}
WRITERS = {kind for kind, family in FAMILIES.items() if family.language_model}
CONFIGS = {
    kind: CONFIGS.get(kind, sizes | (_TIED if kind in WRITERS else {}))
    for kind, sizes in SIZES.items()
}
TEXTS = ["the film was good", "the plot was bad", "a good plot, a bad film", "naïve — «café»"] * 4
WORDS = 300


def values_of(kind: str, **values: Any) -> dict[str, Any]:
    return {"model_type": kind, **CONFIGS[kind], **values}


def make_at(folder: Path, kind: str, *, seed: int = 0, **values: Any) -> Path:
    make_base(values_of(kind, **values), WORDS, TEXTS, seed, folder, language_model=kind in WRITERS)
    return folder


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_made_is_what_was_checked(tmp_path: Path, facts_at: Facts, kind: str) -> None:
    planned, problems = check_config(values_of(kind), WORDS, path="teacher.model.config")
    assert problems == []
    assert planned is not None
    made = facts_at(make_at(tmp_path / kind, kind))
    for fact in ("model_type", "hidden_size", "stacks", "heads", "head_size", "intermediate_size"):
        assert getattr(planned, fact) == getattr(made, fact), fact
    for fact in ("parameters", "outputs", "vocab_size", "max_positions", "language_model"):
        assert getattr(planned, fact) == getattr(made, fact), fact
    assert planned.vocab_size == WORDS
    assert planned.language_model == (kind in WRITERS)
    assert planned.tokenizer_digest != made.tokenizer_digest


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    before = torch.random.get_rng_state()
    folders = [make_at(tmp_path / name, kind) for name in ("one", "two")]
    assert torch.equal(torch.random.get_rng_state(), before)
    files = sorted(file.name for file in folders[0].iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    for file in files:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes(), file
    other = make_at(tmp_path / "other", kind, seed=1) / "model.safetensors"
    assert other.read_bytes() != (folders[0] / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_text_comes_back_and_padding_ends_none(tmp_path: Path, kind: str) -> None:
    folder = make_at(tmp_path / kind, kind)
    tokenizer = load_tokenizer(folder)
    model = (
        load_language_model(folder)
        if kind in WRITERS
        else load_with_head(folder, outputs=2, regression=False, seed=0)
    )
    padding = 1 if FAMILIES[kind].first_position else 0  # from which RoBERTa's positions count
    assert tokenizer.pad_token_id == model.config.pad_token_id == padding
    assert len(tokenizer) <= model.config.vocab_size
    for text in (*TEXTS[:4], "unseen: 漢字\tand\n two  spaces ."):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert tokenizer.unk_token_id not in ids
        assert max(ids) < model.config.vocab_size
    if kind in WRITERS:
        assert tokenizer.eos_token_id == model.config.eos_token_id != tokenizer.pad_token_id
        assert tokenizer.bos_token_id == model.config.bos_token_id
    batch = tokenizer(["a", "the film was"], padding=True, return_tensors="pt")
    if kind in ("t5", "mt5"):  # BART's decoder reads the source unless told otherwise
        batch["decoder_input_ids"] = batch["input_ids"]
    assert model(**batch).logits.isfinite().all()


def test_texts_are_wrapped_as_the_architecture_wants(tmp_path: Path) -> None:
    tokenizers = {kind: load_tokenizer(make_at(tmp_path / kind, kind)) for kind in CONFIGS}

    def wrapped(kind: str, *texts: str) -> list[str]:
        tokens: list[str] = tokenizers[kind].convert_ids_to_tokens(
            tokenizers[kind](*texts)["input_ids"]
        )
        special = set(tokenizers[kind].all_special_tokens)
        return [token if token in special else "." for token in tokens]

    assert wrapped("bert", "a", "a") == ["[CLS]", ".", "[SEP]", ".", "[SEP]"]
    assert tokenizers["bert"]("a", "a")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert wrapped("bart", "a") == ["<s>", ".", "</s>"]
    assert wrapped("bart", "a", "a") == ["<s>", ".", "</s>", "</s>", ".", "</s>"]
    assert wrapped("t5", "a") == [".", "</s>"]
    for kind, family in FAMILIES.items():
        if family.language_model == "causal":
            assert wrapped(kind, "a") == ["."]
        if family.head_reads == "first":
            first, second = ("<s>", "</s>") if family.first_position else ("[CLS]", "[SEP]")
            assert wrapped(kind, "a") == [first, ".", second]
    assert tokenizers["bert"].model_max_length == 24


@pytest.mark.parametrize(("kind", "start"), [("bart", "</s>"), ("t5", "<pad>")])
def test_a_decoder_has_a_start(tmp_path: Path, kind: str, start: str) -> None:
    folder = make_at(tmp_path / kind, kind)
    tokenizer, model = load_tokenizer(folder), load_language_model(folder)
    assert model.config.decoder_start_token_id == tokenizer.convert_tokens_to_ids(start)
    source = tokenizer(["the film"], return_tensors="pt")
    labels_BT: Tensor = tokenizer(["good"], return_tensors="pt")["input_ids"]
    assert model(**source, labels=labels_BT).loss.isfinite()
    written_BT = model.generate(**source, max_new_tokens=3, do_sample=False)
    assert written_BT[0, 0] == model.config.decoder_start_token_id


def test_few_texts_leave_padding_rows(tmp_path: Path, facts_at: Facts) -> None:
    make_base(values_of("gpt2"), 500, ["a b"], 0, tmp_path / "few", language_model=True)
    assert len(load_tokenizer(tmp_path / "few")) < 300
    assert facts_at(tmp_path / "few").vocab_size == 500


def test_the_fingerprint_is_of_values_and_words() -> None:
    def fingerprint(words: int, **values: Any) -> str:
        facts, problems = check_config(values_of("gpt2", **values), words, path="model")
        assert facts is not None, problems
        return facts.fingerprint

    assert fingerprint(300) == fingerprint(300)
    assert len({fingerprint(300), fingerprint(301), fingerprint(300, n_layer=3)}) == 3


@pytest.mark.parametrize(
    ("values", "words", "says"),
    [
        ({"n_embd": 16}, 300, "the config does not set model_type"),
        ({"model_type": "newest"}, 300, "unknown architecture 'newest'"),
        (values_of("gpt2", n_layers=3, heads=2), 300, "a gpt2 model has no heads, n_layers"),
        (values_of("gpt2", n_head=5), 300, "is not a valid model config"),
        (values_of("gpt2", n_embd="wide"), 300, "is not a valid model config"),
        (values_of("gpt2"), 259, "a vocabulary of 259 words is too small; give at least 260"),
        (values_of("bert"), 260, "a vocabulary of 260 words is too small; give at least 261"),
    ],
)
def test_configs_that_make_no_model(values: dict[str, Any], words: int, says: str) -> None:
    facts, problems = check_config(values, words, path="teacher.model.config")
    assert facts is None
    (problem,) = problems
    assert problem.path == "teacher.model.config"
    assert says in f"{problem.message}; {problem.remedy}"


def test_a_bert_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a bert model generates no text"):
        make_base(values_of("bert"), WORDS, TEXTS, 0, tmp_path, language_model=True)


def test_a_backbone_alone_is_a_classifiers(tmp_path: Path) -> None:
    make_base(values_of("bart"), WORDS, TEXTS, 0, tmp_path, language_model=False)
    facts, problems = check_model(str(tmp_path), None, path="teacher.model")
    assert problems == []
    assert facts is not None
    assert load_with_head(tmp_path, outputs=3, regression=False, seed=0).num_parameters() > 0


ROTARY = "partial_rotary_factor"


@pytest.mark.parametrize(
    ("kind", "key", "value", "becomes"),
    [
        ("qwen3", "rope_theta", 5e5, lambda c: c.rope_parameters["rope_theta"] == 5e5),
        ("llama", "rope_theta", 5e5, lambda c: c.rope_parameters["rope_theta"] == 5e5),
        (
            "gpt_neox",
            "rotary_pct",
            0.5,
            lambda c: c.rope_parameters["partial_rotary_factor"] == 0.5,
        ),
        (
            "modernbert",
            "global_attn_every_n_layers",
            2,
            lambda c: (
                c.layer_types[:3] == ["full_attention", "sliding_attention", "full_attention"]
            ),
        ),
        (
            "gemma3_text",
            "sliding_window_pattern",
            2,
            lambda c: c.layer_types[:2] == ["sliding_attention", "full_attention"],
        ),
    ],
)
def test_names_of_published_configs_are_read(
    kind: str, key: str, value: Any, becomes: Callable[[Any], bool]
) -> None:
    """transformers converts them, so that its own `to_dict` does not have them."""
    assert becomes(config_from({"model_type": kind, key: value}, 4096))


@pytest.mark.parametrize("kind", ["gpt2", "bert", "opt"])
def test_names_of_other_architectures_are_refused(kind: str) -> None:
    with pytest.raises(ModelError, match=f"a {kind} model has no rope_theta"):
        config_from({"model_type": kind, "rope_theta": 1e4}, 4096)
