"""Whole jobs of students that write: every method, what they leave, and that they are done once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.spec import METHODS

from .conftest import Shop

INSTRUCTION = """\
name: written
task:
  kind: instruction
  data: {source: files, path: FOLDER/notes}
  evaluation: {other: {source: files, path: FOLDER/other.jsonl}}
  template: none
  max_prompt: 12
  max_response: 6
teacher:
  model:
    config: {model_type: gpt2, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 32}
    vocab_size: 320
  finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
student:
  init: {kind: sliced, layers: 1, hidden_size: 8, weights: finetuned}
  warm_up: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
score: {chunk: 8}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep:
  methods: [METHODS]
  seeds: [10]
evaluate: {metrics: [rougeL, nll], decoding: {kind: sample, seeds: [1, 2]}, max_new_tokens: 4}
resources: {teacher_cpus: 1}
"""

SUMMARIES = """\
name: summed
task:
  kind: summarization
  data: {source: builtin, train: 16, validation: 4, test: 4}
  max_prompt: 16
  max_response: 8
teacher:
  model:
    config:
      {model_type: bart, d_model: 16, encoder_layers: 2, decoder_layers: 2,
       encoder_attention_heads: 2, decoder_attention_heads: 2, encoder_ffn_dim: 16,
       decoder_ffn_dim: 16, max_position_embeddings: 32}
    vocab_size: 320
  finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
student: {init: {kind: aligned, layers: 1, hidden_size: 8, weights: finetuned}}
score: {chunk: 8}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep:
  methods:
    - {kind: ft}
    - {kind: flexkd, beta: 1, lambda: 1, logit: {kind: reverse_kl}}
    - {kind: flexkd, target: directions}
    - {kind: cka, layers: {encoder.0: encoder.-1}}
  seeds: [10]
evaluate: {decoding: {kind: beam, beams: 2}, max_new_tokens: 4}
resources: {teacher_cpus: 1}
"""

METHOD_LINES = [
    *(f"{{kind: {kind}}}" for kind in METHODS),
    "{kind: minillm, on_policy: {teacher_mix: 0.2, max_new_tokens: 4}}",
]


def write_notes(folder: Path) -> None:
    """16 training, 4 validation and 4 test instructions, and 3 of another set."""
    words = ["red", "blue", "green", "round", "small"]
    rows = [
        {
            "instruction": f"name the {words[place % 5]} thing {place}",
            "input": "",
            "output": f"a {words[place % 5]} {words[(place + 2) % 5]} thing",
        }
        for place in range(27)
    ]
    (folder / "notes").mkdir()
    for name, part in (
        ("notes/train", rows[:16]),
        ("notes/validation", rows[16:20]),
        ("notes/test", rows[20:24]),
        ("other", rows[24:]),
    ):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, dict[str, Any]]:
    """A finished job of every method, and its results."""
    folder = tmp_path_factory.mktemp("written")
    write_notes(folder)
    text = INSTRUCTION.replace("FOLDER", str(folder)).replace("METHODS", ", ".join(METHOD_LINES))
    shop = Shop(folder, text)
    return shop, shop.run()


def statuses(results: dict[str, Any], what: str) -> set[str]:
    return {entry["status"] for entry in results[what]}


def test_every_method_leaves_a_student_that_is_measured(
    written: tuple[Shop, dict[str, Any]],
) -> None:
    _, results = written
    assert results["job"]["status"] == "done"
    assert [trial["method"] for trial in results["trials"]] == [*METHODS, "minillm"]
    assert statuses(results, "trials") == {"done"}
    for trial in results["trials"]:
        metrics = trial["metrics"]
        assert {"test/rougeL", "test/nll", "other/rougeL", "other/nll"} <= set(metrics)
        assert 0 <= metrics["test/rougeL"] <= 1
        assert all(map(math.isfinite, metrics.values()))
        assert metrics["test/nll"] > 0
    # Each was trained on something of its own.
    assert len({trial["metrics"]["test/nll"] for trial in results["trials"]}) == 15


def test_every_shared_step_ran_once(written: tuple[Shop, dict[str, Any]]) -> None:
    shop, results = written
    assert statuses(results, "steps") == {"ran"}
    hashes = [step["hash"] for step in results["steps"]]
    assert len(set(hashes)) == len(hashes)
    count = {
        kind: sum(step["kind"] == kind for step in results["steps"])
        for kind in {step["kind"] for step in results["steps"]}
    }
    assert count == {
        "dataset": 2,
        "base": 1,
        "teacher": 1,
        "score": 1,
        "cache": 2,
        "select": 1,
        "generate": 1,
        "warm_up": 1,
        "distill": 15,
        "evaluate": 16,
    }
    for step in results["steps"]:
        folder = shop.folder / "storage/steps" / step["kind"] / step["hash"]
        assert (folder / "manifest.json").is_file()


def test_the_teacher_is_measured_on_what_it_writes(written: tuple[Shop, dict[str, Any]]) -> None:
    _, results = written
    metrics = results["teacher"]["metrics"]
    assert {"test/rougeL", "test/nll", "other/rougeL", "validation/nll"} <= set(metrics)
    assert 0 <= metrics["test/rougeL"] <= 1
    assert results["teacher"]["parameters"] > 16 * 320


def test_the_selection_has_its_units_and_geometry(written: tuple[Shop, dict[str, Any]]) -> None:
    _, results = written
    (selection,) = results["selection"]
    assert selection["layer"] == "last"
    assert (selection["d_teacher"], selection["d_student"]) == (16, 8)
    assert len(set(selection["units"])) == 8
    assert set(selection["units"]) <= set(range(16))
    assert selection["target"] == "units"
    assert 0.5 <= selection["kept_share"] <= 1  # the 8 largest of 16
    assert 0 <= selection["kept_moment"] <= 1
    geometry = selection["geometry"]
    assert 1 <= geometry["effective_dimension"] <= 16
    assert 1 <= geometry["participation_ratio"] <= 16


def test_groups_are_compared_with_the_baseline(written: tuple[Shop, dict[str, Any]]) -> None:
    _, results = written
    assert len(results["groups"]) == 15
    for group in results["groups"]:
        assert set(group["metrics"]) == {"test/rougeL", "test/nll", "other/rougeL", "other/nll"}
        assert (group["versus"] is None) == (group["method"] == "ft")
        for metric, versus in (group["versus"] or {}).items():
            tested = "paired bootstrap" if metric.endswith("rougeL") else None
            assert versus["examples_test"] == tested, "nll is a mean over tokens"
    means = [group["metrics"]["test/rougeL"]["mean"] for group in results["groups"]]
    assert means == sorted(means, reverse=True)


def test_any_method_may_be_the_baseline(written: tuple[Shop, dict[str, Any]]) -> None:
    """What methods read of the teacher, or of its texts, keeps none from being compared."""
    shop, _ = written
    for baseline in ("kd", "seqkd", "cka", "flexkd"):
        results = shop.run(f"sweep.baseline={baseline}")
        assert statuses(results, "trials") == {"reused"}
        without = {group["method"] for group in results["groups"] if group["versus"] is None}
        assert without == {baseline}


def test_the_same_job_again_does_nothing(written: tuple[Shop, dict[str, Any]]) -> None:
    shop, results = written
    again = shop.run()
    assert statuses(again, "steps") == statuses(again, "trials") == {"reused"}
    for kept in ("teacher", "selection", "groups"):
        assert again[kept] == results[kept]
    assert [t["metrics"] for t in again["trials"]] == [t["metrics"] for t in results["trials"]]
    assert {s["hash"] for s in again["steps"]} == {s["hash"] for s in results["steps"]}


def test_another_decoding_measures_again_and_trains_nothing(
    written: tuple[Shop, dict[str, Any]],
) -> None:
    shop, _ = written
    results = shop.run("evaluate.decoding={kind: greedy}", "sweep.methods=[{kind: ft}]")
    by_kind = {step["kind"]: step["status"] for step in results["steps"]}
    assert by_kind["evaluate"] == "ran"
    assert {status for kind, status in by_kind.items() if kind != "evaluate"} == {"reused"}


def test_what_was_written_is_kept(written: tuple[Shop, dict[str, Any]]) -> None:
    shop, results = written
    evaluations = [step for step in results["steps"] if step["kind"] == "evaluate"]
    assert len(evaluations) == 16
    for step in evaluations:
        folder = shop.folder / "storage/steps/evaluate" / step["hash"]
        assert {file.name for file in folder.glob("*.parquet")} == {
            "predictions.parquet",
            "predictions-other.parquet",
        }


def test_the_report_shows_every_set_and_method(written: tuple[Shop, dict[str, Any]]) -> None:
    shop, results = written
    page = shop.report(results)
    for words in ("Test ROUGE-L (%)", "Other ROUGE-L (%)", "Other negative log-likelihood"):
        assert words in page
    for kind in METHODS:
        assert kind in page


def test_summaries_by_two_stacks(tmp_path: Path) -> None:
    """Each stack has its selection, and the student starts at the selected units."""
    shop = Shop(tmp_path, SUMMARIES)
    results = shop.run()
    assert results["job"]["status"] == "done", results
    assert statuses(results, "trials") == {"done"}
    places = [(entry["layer"], entry["target"]) for entry in results["selection"]]
    assert sorted(places) == [
        ("decoder.1", "directions"),
        ("decoder.1", "units"),
        ("encoder.1", "directions"),
        ("encoder.1", "units"),
    ]
    assert len({entry["score_hash"] for entry in results["selection"]}) == 2
    assert {"test/rouge2", "test/rougeL", "test/nll"} <= set(results["teacher"]["metrics"])
    assert all("test/rouge2" in trial["metrics"] for trial in results["trials"])
    page = shop.report(results)
    assert "layer encoder.1, gradient, 8 units" in page
    assert "layer decoder.1, gradient, 8 units" in page
    again = shop.run()
    assert statuses(again, "steps") == statuses(again, "trials") == {"reused"}


def test_no_student_is_trained_whose_test_is_missing(tmp_path: Path) -> None:
    text = SUMMARIES.replace(
        "  max_prompt: 16\n",
        "  evaluation: {other: {source: files, path: FOLDER/other.jsonl}}\n  max_prompt: 16\n",
    ).replace("FOLDER", str(tmp_path))
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"document": "some words", "summary": "words"}) + "\n")
    results = Shop(tmp_path, text).run(after_plan=other.unlink)
    assert results["job"]["status"] == "failed"
    assert statuses(results, "trials") == {"failed"}
    assert all("data set it needs failed" in trial["reason"] for trial in results["trials"])
    assert not any(s["kind"] == "distill" and s["status"] == "ran" for s in results["steps"])
