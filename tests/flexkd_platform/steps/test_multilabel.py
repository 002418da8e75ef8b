"""A multi-label job: what its models learn and save, and what depends on its settings."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    BertTokenizer,
    pipeline,
)

from flexkd_platform.artifacts import multi_hot, read_rows
from flexkd_platform.cli.app import main
from flexkd_platform.models import load_saved
from flexkd_platform.plan import TeacherConfig, with_config
from flexkd_platform.preflight import Preflight
from flexkd_platform.search import build_plan
from flexkd_platform.spec import Problem, load_spec
from flexkd_platform.store import open_store
from flexkd_platform.tasks import logit_of, multilabel_metrics

from ..tiny_jobs import SPECIAL

WORDS = {"praise": "good", "blame": "bad", "length": "long"}
CLASSES = ("blame", "length", "praise")
METRICS = ["micro_f1", "macro_f1", "subset_accuracy", "hamming_loss", "average_precision"]
METHODS = [{"kind": "ft"}, {"kind": "kd"}, {"kind": "flexkd"}]


def write_teacher(folder: Path) -> None:
    """A random BERT, with weights large enough to learn from in a few steps."""
    folder.mkdir()
    (folder / "words.txt").write_text("\n".join([*SPECIAL, "film", "plot", *WORDS.values()]))
    tokenizer = BertTokenizer(str(folder / "words.txt"))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=16,
        initializer_range=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write(folder: Path) -> None:
    """Each class is the presence of one of its words."""
    draw = random.Random(0)
    folder.mkdir()
    for split, rows in {"train": 160, "validation": 40, "test": 60}.items():
        lines = []
        for _ in range(rows):
            labels = [name for name in WORDS if draw.random() < 0.4]
            words = ["film", "plot", *(WORDS[name] for name in labels)]
            draw.shuffle(words)
            lines.append(json.dumps({"text": " ".join(words), "labels": labels}) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines))


def spec_json(folder: Path) -> dict[str, Any]:
    recipe = {"epochs": 6, "batch_size": 16, "learning_rate": 1e-2}
    return {
        "name": "several",
        "task": {
            "kind": "multilabel",
            "data": {"source": "files", "path": str(folder / "data")},
            "max_length": 12,
        },
        "teacher": {"model": str(folder / "teacher"), "finetune": recipe},
        "student": {
            "init": {"kind": "sliced", "layers": 2, "hidden_size": 18, "weights": "finetuned"}
        },
        "distill": recipe | {"batch_size": 8},
        "sweep": {"methods": METHODS, "seeds": [1]},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_teacher(folder / "teacher")
    write(folder / "data")
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    """results.json of one run."""
    (folder / "job.yaml").write_text(json.dumps(spec_json(folder)))
    run(folder / "job.yaml", folder)
    (file,) = (folder / "storage" / "jobs").glob("*/results.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def run(spec: Path, folder: Path) -> None:
    where = ["--storage", str(folder / "storage"), "--tracking-uri", "none", "--address", "none"]
    assert main(["run", str(spec), *where]) == 0


def changed(folder: Path, **sections: Any) -> Path:
    values = spec_json(folder)
    for name, settings in sections.items():
        values[name] = values[name] | settings
    file = folder / "changed.yaml"
    file.write_text(json.dumps(values))
    return file


def problems(folder: Path, **sections: Any) -> list[Problem]:
    return Preflight().problems(load_spec(changed(folder, **sections)))


def plan_of(folder: Path, **sections: Any) -> Any:
    preflight = Preflight()
    return build_plan(load_spec(changed(folder, **sections)), preflight.facts_of)


def test_teacher_and_students_learn(results: dict[str, Any]) -> None:
    # Predicting every class has a micro F1 of 0.57 on this test split; none, of 0.
    assert results["teacher"]["metrics"]["test/micro_f1"] > 0.75
    for trial in results["trials"]:
        assert trial["status"] == "done"
        assert trial["metrics"]["test/micro_f1"] > 0.75, trial["method"]
        assert {f"test/{name}" for name in METRICS} <= trial["metrics"].keys()


def test_groups_and_the_report_show_the_metrics(results: dict[str, Any], folder: Path) -> None:
    (group, *_) = results["groups"]
    assert set(group["metrics"]) >= {f"test/{name}" for name in METRICS}
    (page,) = (folder / "storage" / "jobs").glob("*/report/index.html")
    text = page.read_text()
    # The page has captions, which begin in upper case.
    for name in ("micro F1", "macro F1", "subset accuracy", "Hamming loss", "average precision"):
        assert name.lower() in text.lower(), name


def test_saved_models_are_multi_label_in_transformers(
    results: dict[str, Any], folder: Path
) -> None:
    models = sorted((folder / "storage" / "steps").glob("*/*/model"))
    assert len(models) == 4  # the teacher and three students
    for saved in models:
        model = AutoModelForSequenceClassification.from_pretrained(saved)
        assert model.config.problem_type == "multi_label_classification"
        assert model.config.id2label == dict(enumerate(CLASSES))
    classify = pipeline("text-classification", model=str(models[0]), device="cpu", top_k=None)
    found = {one["label"]: one["score"] for one in classify(["good plot"])[0]}
    model, tokenizer = load_saved(models[0])
    with torch.no_grad():
        logits_C = model(**tokenizer("good plot", return_tensors="pt")).logits[0]
    expected = dict(zip(CLASSES, torch.sigmoid(logits_C).tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-5)  # and not a softmax


def test_a_saved_head_is_matched_by_name(results: dict[str, Any], folder: Path) -> None:
    (trained,) = (folder / "storage" / "steps" / "teacher").glob("*/model")
    teacher = {"model": str(trained), "finetune": None}
    names = {"praise": "approval", "blame": "Blame", "length": "length"}
    (problem,) = problems(folder, teacher=teacher, task={"label_names": names})
    assert "approval" in problem.message
    names["praise"] = "Praise"
    assert problems(folder, teacher=teacher, task={"label_names": names}) == []


def test_a_chosen_threshold_is_that_of_the_validation_split(
    results: dict[str, Any], folder: Path
) -> None:
    changes = {
        "task": {"threshold": "validation"},
        "teacher": {"finetune": {"epochs": 1}},
        "distill": {"epochs": 1},
        "sweep": {"methods": [{"kind": "ft"}]},
    }
    (trial,) = plan_of(folder, **changes).trials
    run(changed(folder, **changes), folder)
    store = open_store(str(folder / "storage"))
    found = store.manifest(trial.evaluate).summary
    rows = pq.read_table(store.folder(trial.evaluate) / "predictions.parquet")
    logits_NC, labels_NC = np.array(rows["outputs"].to_pylist()), multi_hot(rows["label"], 3)
    shifted = multilabel_metrics(logits_NC - logit_of(found["threshold"]), labels_NC)
    assert {f"test/{name}": value for name, value in shifted.items()} == found["metrics"]
    assert found["threshold"] != 0.5


def test_settings_are_part_of_the_identity_where_they_are_set(folder: Path) -> None:
    def teacher(**task: Any) -> str:
        (step,) = with_config(plan_of(folder, task=task).shared, TeacherConfig)
        return str(step.hash)

    plain = teacher()
    assert teacher(class_weights="none", threshold=0.5) == plain
    others = [
        teacher(class_weights="balanced"),
        teacher(class_weights={"praise": 2}),
        teacher(class_weights={"blame": 2}),
        teacher(threshold=0.4),
    ]
    assert len({plain, *others}) == 5


@pytest.mark.parametrize(
    ("sections", "path", "message"),
    [
        (
            {"task": {"class_weights": {"praise": 2, "joy": 3}}},
            "task.class_weights.joy",
            "'joy' is no class of the data",
        ),
        (
            {"sweep": {"methods": [{"kind": "kd", "top_k": 2}]}},
            "sweep.methods[0].top_k",
            "every label of a multi-label task is a distribution of its own",
        ),
        (
            {"sweep": {"methods": [{"kind": "flexkd", "beta": 1, "logit": {"kind": "uld"}}]}},
            "sweep.methods[0].logit.kind",
            "uld compares sorted probabilities",
        ),
        (
            {"score": {"output": "label_logit"}},
            "score.output",
            "label_logit does not fit a multilabel task",
        ),
        (
            {
                "task": {"class_weights": "balanced"},
                "teacher": {"finetune": None},
                "sweep": {"methods": [{"kind": "kd", "beta": 1, "lambda": 0}]},
            },
            "task.class_weights",
            "no model is trained with a supervised loss",
        ),
    ],
)
def test_what_is_refused(folder: Path, sections: dict[str, Any], path: str, message: str) -> None:
    found = problems_of(folder, sections)
    assert any(message in problem.message for problem in found if problem.path == path), found


def problems_of(folder: Path, sections: dict[str, Any]) -> list[Problem]:
    values = spec_json(folder) | {"score": {}}
    for name, settings in sections.items():
        values[name] = values[name] | settings
    file = folder / "refused.yaml"
    file.write_text(json.dumps(values))
    return Preflight().problems(load_spec(file))


@pytest.mark.parametrize("output", ["predicted_logit", "loss"])
def test_units_are_scored_by_other_outputs_and_every_loss_trains(
    results: dict[str, Any], folder: Path, output: str
) -> None:
    kinds = ["kd", "minillm", "jsd", "tvd"] if output == "loss" else ["cka"]
    methods = [{"kind": kind} for kind in kinds]
    values = spec_json(folder) | {"score": {"output": output}}
    values["sweep"] = {"methods": [{"kind": "flexkd"}, *methods], "seeds": [1]}
    values["student"] |= {"labels": 30, "unlabelled": output != "loss"}
    values["distill"] = values["distill"] | {"epochs": 1}
    file = folder / "scored.yaml"
    file.write_text(json.dumps(values))
    run(file, folder)


def test_the_data_set_keeps_lists(results: dict[str, Any], folder: Path) -> None:
    (data,) = (folder / "storage" / "steps" / "dataset").iterdir()
    table = read_rows(data, "train")
    places = {name: at for at, name in enumerate(CLASSES)}
    lines = (folder / "data" / "train.jsonl").read_text().splitlines()
    given = [sorted(places[name] for name in json.loads(line)["labels"]) for line in lines]
    assert table["label"].to_pylist() == given
