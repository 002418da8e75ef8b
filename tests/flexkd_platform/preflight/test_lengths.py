"""What is found about texts before anything starts: truncation, lengths, ROUGE's words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.model_info import ModelError
from flexkd_platform.preflight import Preflight
from flexkd_platform.preflight import lengths as checks
from flexkd_platform.search import build_plan
from flexkd_platform.spec import JobSpec, Problem, load_spec

CONFIG = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "cache"))


def spec_of(folder: Path, *overrides: str, outputs: str = "It is {n}.", rows: int = 40) -> JobSpec:
    """Instructions of 30 words, of which each has its number in front."""
    data = folder / "rows.jsonl"
    lines = [
        json.dumps({"instruction": f"{n} " + "word " * 30, "output": outputs.format(n=n)})
        for n in range(rows)
    ]
    data.write_text("\n".join(lines), encoding="utf-8")
    task: dict[str, Any] = {
        "kind": "instruction",
        "data": {"source": "files", "path": str(data)},
        "max_prompt": 160,
        "max_response": 24,
    }
    job = {
        "name": "lengths",
        "task": task,
        "teacher": {"model": {"config": CONFIG, "vocab_size": 400}},
        "student": {"init": {"kind": "random", "layers": 1, "hidden_size": 8}},
        "sweep": {"methods": [{"kind": "ft"}], "seeds": [1]},
        "evaluate": {"max_new_tokens": 8, "metrics": ["rougeL", "nll"]},
    }
    file = folder / "job.yaml"
    file.write_text(json.dumps(job), encoding="utf-8")
    return load_spec(file, overrides)


def test_texts_that_fit_need_no_word(tmp_path: Path) -> None:
    preflight = Preflight()
    spec = spec_of(tmp_path)
    assert preflight.problems(spec) == []
    assert [w.path for w in preflight.warnings(spec)] == []
    found = preflight.lengths(spec)
    assert set(found) == {"train", "validation", "test"}
    assert sum(each["rows"] for each in found.values()) == 40
    assert all(each["prompts"]["cut"] == 0 for each in found.values())


def test_what_is_truncated_is_counted(tmp_path: Path) -> None:
    preflight = Preflight()
    spec = spec_of(tmp_path, "task.max_prompt=60", "task.max_response=4")
    prompts, responses = preflight.warnings(spec)
    assert prompts.path == "task.max_prompt"
    rows = {name: each["rows"] for name, each in preflight.lengths(spec).items()}
    assert f"truncate prompts: {rows['train']} of {rows['train']} of train" in prompts.message
    assert responses.path == "task.max_response"
    assert "truncate responses" in responses.message


def test_a_prompt_without_room_is_a_problem(tmp_path: Path) -> None:
    (problem,) = Preflight().problems(spec_of(tmp_path, "task.max_prompt=3"))
    assert problem.path == "task.max_prompt"
    assert "the marker '### Response:' alone has" in problem.message
    assert problem.remedy.startswith("raise max_prompt above ")
    number = problem.remedy.rpartition(" ")[2]
    assert Preflight().problems(spec_of(tmp_path, f"task.max_prompt={int(number) + 1}")) == []


def test_a_prefix_without_room_is_a_problem(tmp_path: Path) -> None:
    config = {"model_type": "t5", "d_model": 16, "num_layers": 2, "num_heads": 2, "d_kv": 8}
    task = {
        "kind": "summarization",
        "data": {"source": "builtin", "train": 20, "validation": 4, "test": 4},
        "prefix": "summarize: ",
        "max_prompt": 3,
        "max_response": 8,
    }
    model = {"config": {**config, "d_ff": 32}, "vocab_size": 320}
    spec = spec_of(tmp_path, f"task={json.dumps(task)}", f"teacher.model={json.dumps(model)}")
    (problem,) = Preflight().problems(spec)
    assert problem.path == "task.max_prompt"
    assert "the prefix alone has" in problem.message


def test_the_measurement_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Preflight().lengths(spec_of(tmp_path))

    def fail(*args: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(checks, "_examined", fail)
    assert Preflight().lengths(spec_of(tmp_path)) == first
    with pytest.raises(AssertionError, match="measured again"):
        Preflight().lengths(spec_of(tmp_path, "task.max_prompt=61"))


def test_a_large_set_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SAMPLE", 5)
    preflight, spec = Preflight(), spec_of(tmp_path, "task.max_prompt=60")
    assert preflight.lengths(spec)["train"]["rows"] == 5
    assert "(of a sample)" in preflight.warnings(spec)[0].message


def test_a_set_that_is_measured_whole_is_no_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(tmp_path, "task.max_prompt=60")
    rows = Preflight().data(spec)[0].sizes["train"]
    monkeypatch.setattr(checks, "SAMPLE", rows)
    preflight = Preflight()
    assert preflight.lengths(spec)["train"]["rows"] == rows
    (warning,) = (w for w in preflight.warnings(spec) if w.path == "task.max_prompt")
    assert "(of a sample)" not in warning.message


@pytest.mark.parametrize(
    ("outputs", "rule"),
    [("It is {n}.", {}), ("Это {n}.", {"validation": "unicode", "test": "unicode"})],
)
def test_the_words_of_rouge_enter_an_identity_where_they_are_not_english(
    tmp_path: Path, outputs: str, rule: dict[str, str]
) -> None:
    spec = spec_of(tmp_path, outputs=outputs)
    preflight = Preflight()
    assert preflight.facts_of(spec).word_rules == rule
    identity = build_plan(spec, preflight.facts_of).trials[0].evaluate.identity
    expected = {"test": rule["test"]} if rule else None
    assert identity.get("rouge_tokenizer") == expected


def test_a_tokenizer_of_rouge_without_rouge_is_refused(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "evaluate.metrics=[nll]", "evaluate.rouge_tokenizer=unicode")
    (problem,) = Preflight().problems(spec)
    assert problem.path == "evaluate.rouge_tokenizer"


def test_new_tokens_count_only_where_text_is_generated(tmp_path: Path) -> None:
    """`nll` reads the references, which fit; generation would need 300 positions."""
    long = ("evaluate.max_new_tokens=140", "evaluate.metrics=[nll]")
    assert Preflight().problems(spec_of(tmp_path, *long)) == []
    (problem,) = Preflight().problems(spec_of(tmp_path, long[0]))
    assert problem.path == "task.max_prompt"
    assert "140 of a response, by evaluate.max_new_tokens" in problem.message


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("teacher.model", "model", "teacher.model"),
        ("teacher.model", "revision", "teacher.revision"),
        ("evaluate.bertscore_model", "model", "evaluate.bertscore_model"),
        ("evaluate.bertscore_model", "revision", "evaluate.bertscore_model"),
        ("teacher.model.config", "model", "teacher.model.config"),
    ],
)
def test_an_error_of_a_model_is_at_a_key_that_exists(path: str, key: Any, expected: str) -> None:
    assert ModelError("what", "remedy", key).problem(path) == Problem(expected, "what", "remedy")


def test_a_remembered_spec_is_checked_without_torch(tmp_path: Path) -> None:
    spec_of(tmp_path)
    code = (
        "import sys; from pathlib import Path; from flexkd_platform.preflight import Preflight; "
        "from flexkd_platform.spec import load_spec; "
        f"found = Preflight().problems(load_spec(Path({str(tmp_path / 'job.yaml')!r}))); "
        "print(found, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout.strip() == "[] True True"
    assert runs[1].stdout.strip() == "[] False False"
