"""What does not go together: methods and tasks, tasks and models, models and each other.

Each is told before anything starts, as one problem with its path, what was given and what to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.models import make_base

from .misfits import (
    ONE_PROBLEM,
    RANDOM,
    RATINGS,
    SIZES,
    SPECS,
    WORDS,
    blank,
    methods,
)


class Desk:
    """`flexkd validate` on a spec with some values changed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def validate(self, text: str, *overrides: str) -> tuple[int, Any]:
        """Exit code and what `--json` prints."""
        spec = self.folder / "spec.yaml"
        spec.write_text(text, encoding="utf-8")
        storage = self.folder / "storage"
        arguments = ["validate", str(spec), "--json", "--storage", str(storage)]
        for override in overrides:
            arguments += ["--set", override]
        code = main(arguments)
        assert not (storage / "steps").exists()
        return code, json.loads(self._capsys.readouterr().out)

    def problems(self, text: str, *overrides: str) -> list[tuple[str, str, str]]:
        """Path, message and remedy of everything that is wrong."""
        code, found = self.validate(text, *overrides)
        assert code == 2
        return [(p["path"], p["message"], p["remedy"]) for p in found["problems"]]


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model and an encoder–decoder with tokenizers of their own."""
    folder = tmp_path_factory.mktemp("models")
    for name, sizes in SIZES.items():
        values = {"model_type": name} | sizes
        make_base(values, WORDS - 20, ["no word"], 0, folder / name, language_model=True)
    return folder


@pytest.mark.parametrize(
    ("task", "overrides"),
    [
        ("classification", [methods("{kind: ft}", "{kind: flexkd, target: directions}")]),
        ("classification", [RATINGS, methods("{kind: kd}", "{kind: cka, layers: every}")]),
        ("classification", [f"teacher.model={blank('gpt2')}", RANDOM, "task.padding=left"]),
        ("instruction", [methods("{kind: seqkd}", "{kind: flexkd, layers: {0: 0}}")]),
        ("instruction", [f"teacher.model={blank('llama')}"]),
        (
            "instruction",
            [
                methods(
                    "{kind: minillm, on_policy: {max_new_tokens: 16}}", "{kind: jsd, top_k: 320}"
                )
            ],
        ),
        (
            "summarization",
            [methods("{kind: seqkd}", "{kind: cka, layers: {encoder.0: encoder.1}}")],
        ),
        ("summarization", ["score.layer=decoder.-1", methods("{kind: flexkd}")]),
        (
            "instruction",
            ["student.init={kind: aligned, layers: 1, hidden_size: 8, weights: finetuned}"],
        ),
    ],
)
def test_what_does_go_together(desk: Desk, task: str, overrides: list[str]) -> None:
    """The specs below are right but for what is changed in them."""
    code, found = desk.validate(SPECS[task], *overrides)
    assert code == 0, found
    assert found["trials"] >= 1


@pytest.mark.parametrize("what", ONE_PROBLEM)
def test_is_one_problem(desk: Desk, what: str) -> None:
    task, overrides, path, message, remedy = ONE_PROBLEM[what]
    assert desk.problems(SPECS[task], *overrides) == [(path, message, remedy)]


@pytest.mark.parametrize(
    ("method", "key", "term"),
    [
        ("{kind: kd}", "kind", "forward_kl"),
        ("{kind: tvd}", "kind", "tvd"),
        ("{kind: flexkd}", "logit.kind", "forward_kl"),
        ("{kind: cka, beta: 1, alpha: 0, logit: {kind: jsd}}", "logit.kind", "jsd"),
    ],
)
def test_a_logit_loss_of_one_vocabulary_with_a_student_of_other_tokens(
    desk: Desk, models: Path, method: str, key: str, term: str
) -> None:
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    uld, weight = ("kind: uld", "") if key == "kind" else ("logit: {kind: uld}", "beta: 0, or ")
    assert desk.problems(SPECS["instruction"], own, methods("{kind: ft}", method)) == [
        (
            f"sweep.methods[1].{key}",
            f"{models}/gpt2 has a different tokenizer from its teacher, and {term} compares the "
            "same entries of one vocabulary",
            f"use {uld}, which compares sorted probabilities, seqkd, which compares texts, or "
            f"{weight}models with the same tokenizer",
        )
    ]


def test_sampled_responses_of_a_student_of_other_tokens(desk: Desk, models: Path) -> None:
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    method = "{kind: uld, on_policy: {share: 0.5, max_new_tokens: 4}}"
    assert desk.problems(SPECS["instruction"], own, methods("{kind: ft}", method)) == [
        (
            "sweep.methods[1].on_policy",
            f"{models}/gpt2 has a different tokenizer from its teacher, and on sampled responses "
            "the teacher reads the student's tokens",
            "leave on_policy out, or use models with the same tokenizer",
        )
    ]


def test_a_student_whose_tokens_have_no_characters(
    desk: Desk, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = property(lambda self: False)
    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.is_fast", slow)
    monkeypatch.setenv("FLEXKD_CACHE", str(desk.folder / "cache"))
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    ((path, message, remedy),) = desk.problems(
        SPECS["instruction"], own, methods("{kind: ft}", "{kind: uld}")
    )
    assert path == "student.init.model"
    assert message.endswith("does not map tokens to characters, by which uld aligns them")
    assert remedy.startswith("use models with the same tokenizer, fast tokenizers")


@pytest.mark.parametrize(
    "method",
    ["{kind: uld}", "{kind: flexkd, logit: {kind: uld}}", "{kind: cka, beta: 0, lambda: 1}"],
)
def test_other_tokens_do_where_characters_are_aligned(
    desk: Desk, models: Path, method: str
) -> None:
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    code, found = desk.validate(SPECS["instruction"], own, methods("{kind: ft}", method))
    assert code == 0, found


def test_other_tokens_do_where_texts_are_compared(desk: Desk, models: Path) -> None:
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    taught = methods("{kind: ft}", "{kind: seqkd}")
    assert desk.validate(SPECS["instruction"], own, taught)[0] == 0
    # A teacher that the student shares its tokens with teaches by any method.
    same = f"teacher.model={models}/gpt2"
    assert desk.validate(SPECS["instruction"], own, same, methods("{kind: kd}"))[0] == 0


@pytest.mark.parametrize(
    ("task", "model", "wanted"),
    [
        ("instruction", "bart", "a causal language model"),
        ("summarization", "gpt2", "an encoder–decoder"),
    ],
)
def test_a_student_of_another_kind_than_its_teacher(
    desk: Desk, models: Path, task: str, model: str, wanted: str
) -> None:
    """Also with layers to pair, of which the two have none in common."""
    own = f"student.init={{kind: pretrained, model: {models}/{model}}}"
    for layers in ("last", "every", "{0: 0}"):
        found = desk.problems(SPECS[task], own, methods(f"{{kind: cka, layers: {layers}}}"))
        assert [path for path, *_ in found] == ["student.init.model"] * len(found)
        assert found[0][1] == (f"{models}/{model} is a {model} model, and {task} is for {wanted}")


def test_a_smaller_vocabulary_of_the_students_counts(desk: Desk, models: Path) -> None:
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    found = desk.problems(SPECS["instruction"], own, methods("{kind: kd, top_k: 310}"))
    assert ("sweep.methods[0].top_k", "at most 300") in [(path, fix) for path, _, fix in found]


def test_all_at_once(desk: Desk) -> None:
    found = desk.problems(
        SPECS["summarization"],
        "task.max_prompt=65",
        "task.max_response=66",
        "evaluate.max_new_tokens=67",
        "teacher.finetune=null",
        "score.output=predicted_logit",
        methods("{kind: kd, on_policy: {max_new_tokens: 8}}", "{kind: gram, layers: {0: 5}}"),
    )
    assert {path for path, *_ in found} == {
        "task.max_prompt",
        "task.max_response",
        "evaluate.max_new_tokens",
        "teacher.finetune",
        "score.output",
        "sweep.methods[0].lambda",
        "sweep.methods[1].layers",
    }
    assert len(found) == 7
    assert all(remedy for *_, remedy in found)


def test_every_point_of_an_axis_is_judged(desk: Desk) -> None:
    axis = "sweep.axes={task.max_prompt: [48, 60, 62], score.layer: [0, 7]}"
    found = desk.problems(SPECS["instruction"], axis, methods("{kind: flexkd}"))
    assert [path for path, *_ in found] == ["score.layer", "task.max_prompt", "task.max_prompt"]


ALIGNED = "student.init={kind: aligned, layers: 1, hidden_size: 8, weights: finetuned}"


def test_an_aligned_student_is_cut_at_the_decoders_units(desk: Desk) -> None:
    found = desk.problems(SPECS["summarization"], ALIGNED, "score.layer=encoder.-1")
    assert found == [
        (
            "score.layer",
            "encoder.-1 does not include the decoder, whose units an aligned student needs",
            "set score.layer: last, or decoder.last",
        )
    ]


def test_an_aligned_student_keeps_its_order(desk: Desk) -> None:
    pairing = methods("{kind: ft}", "{kind: flexkd, pairing: index}")
    ((path, message, remedy),) = desk.problems(SPECS["instruction"], ALIGNED, pairing)
    assert path == "sweep.methods[1].pairing"
    assert "rank order" in message
    assert "pairing: rank" in remedy


@pytest.mark.parametrize(
    ("overrides", "pairings"),
    [
        ([methods("{kind: flexkd}")], ["rank"]),
        ([methods("{kind: ft}", "{kind: flexkd, pairing: [rank, index]}")], ["rank", "index"]),
        ([methods("{kind: flexkd, pairing: [matched, origin]}")], []),
        ([methods("{kind: flexkd, select: origin}")], []),
        ([methods("{kind: flexkd, target: directions}")], []),
        ([methods("{kind: flexkd, alpha: 0, beta: 1}")], []),
        ([ALIGNED, methods("{kind: flexkd}")], []),
        ([RANDOM, methods("{kind: flexkd}")], []),
    ],
)
def test_a_sliced_students_units_in_rank_order_are_a_warning_for_text(
    desk: Desk, capsys: pytest.CaptureFixture[str], overrides: list[str], pairings: list[str]
) -> None:
    spec = desk.folder / "spec.yaml"
    spec.write_text(SPECS["instruction"], encoding="utf-8")
    arguments = ["validate", str(spec), "--storage", str(desk.folder / "storage")]
    sliced = "student.init={kind: sliced, layers: 1, hidden_size: 8, weights: finetuned}"
    for override in (sliced, *overrides):
        arguments += ["--set", override]
    assert main(arguments) == 0
    shown = capsys.readouterr().err.splitlines()
    # A method whose feature loss has no weight has a warning of its own, about its α.
    about_methods = [line for line in shown if line.startswith("warning: sweep.methods")]
    warnings = [line for line in about_methods if ".alpha (" not in line and ".alpha:" not in line]
    assert len(warnings) == len(pairings)
    for line, pairing in zip(warnings, pairings, strict=True):
        assert f"{pairing} pairs each unit of a sliced student with an arbitrary unit" in line


def test_fewer_gradients_than_units_are_a_warning(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = desk.folder / "spec.yaml"
    spec.write_text(SPECS["classification"], encoding="utf-8")
    arguments = ["validate", str(spec), "--storage", str(desk.folder / "storage"), "--set"]
    warning = "warning: score.samples: 40 gradients for 384 units"
    for method, warns in (("{kind: ft}", False), ("{kind: flexkd}", True)):
        assert main([*arguments, methods(method)]) == 0
        assert (warning in capsys.readouterr().err) is warns


def test_sorted_probabilities_of_classes_are_a_warning(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, warning = desk.folder / "spec.yaml", "uld on classification: it compares sorted"
    for method, warns in (
        ("{kind: uld}", True),
        ("{kind: cka, beta: 1, logit: {kind: uld}}", True),
        ("{kind: cka, logit: {kind: uld}}", False),
        ("{kind: kd}", False),
    ):
        spec.write_text(SPECS["classification"], encoding="utf-8")
        arguments = ["validate", str(spec), "--storage", str(desk.folder / "storage"), "--set"]
        assert main([*arguments, methods(method)]) == 0
        assert (warning in capsys.readouterr().err) is warns


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_set_to_measure_on_is_not_named_like_a_split(desk: Desk, name: str) -> None:
    extra = f"task.evaluation={{{name}: {{source: builtin}}}}"
    ((path, message, remedy),) = desk.problems(SPECS["instruction"], extra)
    assert path.startswith("task.evaluation")
    assert f"{name!r} is a split of the task's own data" in message
    assert "another name" in remedy
