"""An exported folder does in transformers what the evaluation did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from flexkd_platform.export import find_student, parse_target
from flexkd_platform.export.choosing import Student
from flexkd_platform.export.folder import Exported, write_student
from flexkd_platform.model_info import ModelError
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.spec import SpecError

from .conftest import Job

LORA = (
    "student={init: {kind: sliced, layers: 2, hidden_size: 8, weights: finetuned}, "
    "lora: {r: 2, export: EXPORT}}"
)


def student_of(job: Job, target: str = "tiny:best") -> Student:
    return find_student(job.files(), parse_target(target))


def predictions(student: Student) -> Any:
    """The table that the evaluation of a student published."""
    store = student.files.store
    for step in student.files.results["steps"]:
        if step["kind"] == "evaluate":
            manifest = store.manifest_at("evaluate", step["hash"])
            if manifest.needs["student"] == student.trial.hash:
                return pq.read_table(store.file_at("evaluate", step["hash"], "predictions.parquet"))
    raise AssertionError("the student was not evaluated")


def texts_of(student: Student, column: str) -> list[str]:
    (step,) = (s for s in student.files.results["steps"] if s["kind"] == "dataset")
    file = student.files.store.file_at("dataset", step["hash"], "test.parquet")
    texts: list[str] = pq.read_table(file)[column].to_pylist()
    return texts


@pytest.fixture(scope="module")
def exported(classified: Job, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return write_student(student_of(classified), tmp_path_factory.mktemp("out") / "student")


def test_a_classifier_loads_with_names_and_predicts_as_evaluated(
    classified: Job, exported: Exported
) -> None:
    student = student_of(classified)
    texts = texts_of(student, "text")
    with quiet():
        classify = pipeline("text-classification", str(exported.folder), top_k=None)
        found = classify(texts, truncation=True)
    outputs_NC = torch.tensor(predictions(student)["outputs"].to_pylist())
    for scores, row_C in zip(found, outputs_NC.softmax(-1), strict=True):
        by_name = {each["label"]: each["score"] for each in scores}
        assert set(by_name) == {"low", "middle", "high"}
        ours_C = [by_name[name] for name in ("low", "middle", "high")]
        np.testing.assert_allclose(ours_C, row_C.numpy(), rtol=1e-4)


def test_the_tokenizer_truncates_as_in_training(exported: Exported) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported.folder)
    assert len(tokenizer("red " * 50, truncation=True)["input_ids"]) == 6  # max_length of the job


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_a_student_with_an_adapter_is_a_whole_model(
    job_of: Callable[..., Job], tmp_path: Path, kind: str
) -> None:
    student = student_of(job_of("bert", "classification", LORA.replace("EXPORT", kind)))
    exported = write_student(student, tmp_path / "out")
    assert "adapter_config.json" not in exported.files
    with quiet():
        model, report = AutoModelForSequenceClassification.from_pretrained(
            exported.folder, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(exported.folder)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    texts = texts_of(student, "text")
    inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        outputs_NC = model.eval()(**inputs).logits
    expected_NC = predictions(student)["outputs"].to_pylist()
    np.testing.assert_allclose(outputs_NC.numpy(), expected_NC, atol=1e-5)


def test_a_regressor_outputs_labels(job_of: Callable[..., Job], tmp_path: Path) -> None:
    student = student_of(job_of("bert", "regression"))
    exported = write_student(student, tmp_path / "out")
    assert exported.notes == ()
    with quiet():
        rate = pipeline("text-classification", str(exported.folder))
        found = rate(texts_of(student, "text"), truncation=True)
    expected_N1 = predictions(student)["outputs"].to_pylist()
    np.testing.assert_allclose([each["score"] for each in found], np.ravel(expected_N1), rtol=1e-4)


def test_a_regressor_without_a_bias_says_its_unit(
    job_of: Callable[..., Job], tmp_path: Path
) -> None:
    """`from_pretrained` makes GPT-2's head without a bias, which could hold the mean."""
    student = student_of(job_of("gpt2", "regression"))
    exported = write_student(student, tmp_path / "out")
    (note,) = exported.notes
    assert note in (exported.folder / "README.md").read_text()
    with quiet():
        rate = pipeline("text-classification", str(exported.folder))
        found = rate(texts_of(student, "text"), truncation=True)
        config = AutoModelForSequenceClassification.from_pretrained(exported.folder).config
    labels_N = [each["score"] * config.label_std + config.label_mean for each in found]
    expected_N1 = predictions(student)["outputs"].to_pylist()
    np.testing.assert_allclose(labels_N, np.ravel(expected_N1), rtol=1e-4)


def test_a_causal_model_writes_what_it_wrote(job_of: Callable[..., Job], tmp_path: Path) -> None:
    student = student_of(job_of("gpt2", "instruction", "task.max_prompt=24"))
    exported = write_student(student, tmp_path / "out")
    table, prompts = predictions(student), texts_of(student, "prompt")
    with quiet():
        generate = pipeline("text-generation", str(exported.folder))
        found = generate(prompts, return_full_text=False, batch_size=5)
    ours = [each[0]["generated_text"].strip() for each in found]
    assert ours == [text.strip() for text in table["prediction"].to_pylist()]


def test_an_encoder_decoder_writes_what_it_wrote(
    job_of: Callable[..., Job], tmp_path: Path
) -> None:
    student = student_of(job_of("bart", "summarization", "task.max_prompt=24"))
    exported = write_student(student, tmp_path / "out")
    with quiet():
        model = AutoModelForSeq2SeqLM.from_pretrained(exported.folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(exported.folder)
    inputs = tokenizer(texts_of(student, "prompt"), padding=True, return_tensors="pt")
    written = tokenizer.batch_decode(model.generate(**inputs), skip_special_tokens=True)
    expected = predictions(student)["prediction"].to_pylist()
    assert [text.strip() for text in written] == [text.strip() for text in expected]


def test_the_card_is_one_that_the_hub_reads(classified: Job, exported: Exported) -> None:
    card = ModelCard.load(exported.folder / "README.md")
    student = student_of(classified)
    data = card.data.to_dict()
    assert data["pipeline_tag"] == "text-classification"
    assert data["license"] == "unknown"
    assert student.trial.method in data["tags"]
    names = [result.metric_name for result in card.data.eval_results]
    assert names == ["test/accuracy", "test/f1", "test/matthews"]
    assert card.data.eval_results[0].metric_value == student.trial.metrics["test/accuracy"]


def test_the_card_says_what_how_and_on_what(classified: Job, exported: Exported) -> None:
    text = (exported.folder / "README.md").read_text()
    for part in (
        "a bert created from a config, with random weights | none",
        "files: data | unknown",
        "`low`, `middle`, `high`",
        "| examples of train | 12 |",
        "mean ± std of 2 seeds",
        student_of(classified).job_id,
    ):
        assert part in text, part
    assert str(classified.storage.parent) not in text, "a path of this machine"


def test_nothing_is_overwritten(classified: Job, exported: Exported, tmp_path: Path) -> None:
    before = (exported.folder / "README.md").read_bytes()
    with pytest.raises(SpecError, match="is not empty"):
        write_student(student_of(classified), exported.folder)
    assert (exported.folder / "README.md").read_bytes() == before
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(SpecError, match="is a file"):
        write_student(student_of(classified), file)
    with pytest.raises(SpecError, match="is not a writable folder"):
        write_student(student_of(classified), file / "below")


def test_an_empty_folder_is_filled(classified: Job, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "model.safetensors" in write_student(student_of(classified), folder).files
    assert [path.name for path in tmp_path.iterdir()] == ["empty"], "no draft is left"


def test_onnx_runtime_computes_what_was_evaluated(classified: Job, tmp_path: Path) -> None:
    student = student_of(classified)
    exported = write_student(student, tmp_path / "out", ["onnx"])
    assert "model.onnx" in exported.files
    assert "model.safetensors" not in exported.files
    tokenizer = AutoTokenizer.from_pretrained(exported.folder)
    texts = texts_of(student, "text")
    inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"))
    names = [each.name for each in session.get_inputs()]
    (outputs_NC,) = session.run(None, {name: inputs[name] for name in names})
    expected_NC = predictions(student)["outputs"].to_pylist()
    np.testing.assert_allclose(outputs_NC, expected_NC, atol=1e-4)


def test_formats_that_a_student_cannot_have_are_refused(
    job_of: Callable[..., Job], classified: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = student_of(job_of("bart", "summarization", "task.max_prompt=24"))
    with pytest.raises(SpecError, match="several graphs"):
        write_student(student, tmp_path / "out", ["onnx"])
    with pytest.raises(SpecError, match="unknown format 'gguf'"):
        write_student(student_of(classified), tmp_path / "out", ["gguf"])
    broken = ModelError("this bert model cannot be exported to ONNX: no operator", "leave it out")
    monkeypatch.setattr("flexkd_platform.export.folder.export_onnx", Mock(side_effect=broken))
    with pytest.raises(SpecError, match="no operator"):
        write_student(student_of(classified), tmp_path / "out", ["onnx"])
    monkeypatch.setattr("flexkd_platform.models.onnx_export.PACKAGES", ("no_such_package",))
    with pytest.raises(SpecError, match="ONNX needs no_such_package"):
        write_student(student_of(classified), tmp_path / "out", ["onnx"])
    assert list(tmp_path.iterdir()) == [], "nothing is left"
