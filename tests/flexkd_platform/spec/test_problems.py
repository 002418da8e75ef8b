"""What a person is told: every problem at once, each with path, line, what was given, remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from flexkd_platform.spec import JobSpec, Problem, SpecError, load_spec, spec_with

Problems = Callable[..., tuple[Problem, ...]]
Load = Callable[..., object]

METHODS = (
    "'ft', 'kd', 'seqkd', 'minillm', 'jsd', 'skew_fkl', 'skew_rkl', 'tvd', 'projector', 'cka', "
    "'flexkd', 'procrustes', 'gram'"
)
DISTILL = (
    "batch_size, dropout, epochs, keep, learning_rate, max_grad_norm, precision, teacher_cache, "
    "warmup_share, weight_decay"
)
LAYERS = (
    "last: the student's last with score.layer; every: each of the student's with evenly spaced "
    "ones of the teacher; or a map {student layer: teacher layer}"
)
SCORED = (
    "teacher layer that is scored and matched: last, a number (negative from the end), or of an "
    "encoder–decoder one stack's alone, as decoder.-1"
)


ONE_PROBLEM = {
    # what: (replaced in the spec, by what, path, line, message, remedy)
    "unknown key": (
        "seeds:",
        "seed:",
        "sweep.seed",
        7,
        "unknown key 'seed'",
        "did you mean 'seeds'? "
        "allowed here: axes, baseline, methods, scheduler, search, seeds, space",
    ),
    "unknown key with no likeness": (
        "name: quick\n",
        "name: quick\ndistill:\n  zzz: 1\n",
        "distill.zzz",
        3,
        "unknown key 'zzz'",
        f"allowed here: {DISTILL}",
    ),
    "unknown section": (
        "name: quick\n",
        "name: quick\nscored: {}\n",
        "scored",
        2,
        "unknown key 'scored'",
        "did you mean 'score'? allowed here: distill, evaluate, name, plugins, reference, "
        "resources, score, student, sweep, task, teacher, tracking",
    ),
    "unknown setting of a method": (
        "beta: 0.5",
        "betta: 0.5",
        "sweep.methods[1].betta",
        5,
        "unknown key 'betta'",
        "did you mean 'beta'? allowed here: beta, kind, lambda, on_policy, temperature, top_k",
    ),
    "a setting another method has": (
        "{kind: ft}",
        "{kind: ft, alpha: 0.5}",
        "sweep.methods[0].alpha",
        4,
        "unknown key 'alpha'",
        "allowed here: kind",
    ),
    "a key that is a number": (
        "name: quick\n",
        "name: quick\ndistill: {1: 2}\n",
        "distill.1",
        2,
        "unknown key '1'",
        f"allowed here: {DISTILL}",
    ),
    "a number in quotes": (
        "beta: 0.5",
        "beta: '0.5'",
        "sweep.methods[1].beta",
        5,
        'input should be a valid number, but "0.5" was given',
        "β, weight of the logit loss",
    ),
    "true where a number goes": (
        "beta: 0.5",
        "beta: true",
        "sweep.methods[1].beta",
        5,
        "input should be a valid number, but true was given",
        "β, weight of the logit loss",
    ),
    "a seed that is not a whole number": (
        "[10, 20]",
        "[10, 20.5]",
        "sweep.seeds[1]",
        7,
        "input should be a valid integer, but 20.5 was given",
        "",
    ),
    "a section that is null": (
        "name: quick\n",
        "name: quick\nscore:\n",
        "score",
        2,
        "input should be an object, but null was given",
        "One pass over training examples that gives every unit of one teacher layer its score.",
    ),
    "a number that is not finite": (
        "beta: 0.5",
        "beta: .nan",
        "sweep.methods[1].beta",
        5,
        "input should be a finite number, but NaN was given",
        "β, weight of the logit loss",
    ),
    "a negative weight inside a method's axis": (
        "[0.05, 0.5]",
        "[0.05, -0.5]",
        "sweep.methods[2].alpha[1]",
        6,
        "input should be greater than or equal to 0, but -0.5 was given",
        "α, weight of the feature loss",
    ),
    "an axis of a method without values": (
        "[0.05, 0.5]",
        "[]",
        "sweep.methods[2].alpha",
        6,
        "input should be a valid number, but [] was given",
        "α, weight of the feature loss",
    ),
    "no weight at all": (
        "beta: 0.5",
        "beta: 0, lambda: 0",
        "sweep.methods[1]",
        5,
        "every weight is 0",
        "give one of beta, lambda more than 0",
    ),
    "no seeds": (
        "[10, 20]",
        "[]",
        "sweep.seeds",
        7,
        "list should have at least 1 item, not 0, but [] was given",
        "results are aggregated over them",
    ),
    "only a seed that is wrong": (
        "[10, 20]",
        "[-1]",
        "sweep.seeds[0]",
        7,
        "input should be greater than or equal to 0, but -1 was given",
        "",
    ),
    "a seed twice": (
        "[10, 20]",
        "[10, 20, 10]",
        "sweep.seeds",
        7,
        "a seed is named twice",
        "name each one once",
    ),
    "unknown method": (
        "kind: kd",
        "kind: kdd",
        "sweep.methods[1].kind",
        5,
        "'kdd' is not known",
        f"allowed: {METHODS}",
    ),
    "several methods in one": (
        "{kind: ft}",
        "{kind: [ft, kd]}",
        "sweep.methods[0].kind",
        4,
        "['ft', 'kd'] is not known",
        f"allowed: {METHODS}",
    ),
    "a method without kind": (
        "kind: kd, ",
        "",
        "sweep.methods[1].kind",
        5,
        "this is missing",
        "allowed: cka, flexkd, ft, gram, jsd, kd, minillm, procrustes, projector, seqkd, skew_fkl, "
        "skew_rkl, tvd",
    ),
    "a method that is a word": (
        "{kind: ft}",
        "ft",
        "sweep.methods[0]",
        4,
        'input should be an object, but "ft" was given',
        "",
    ),
    "a key that must be there": (
        "name: quick\n",
        "",
        "name",
        None,
        "this is missing",
        "add it: lower-case letters, digits, dots, hyphens; names the job's folder",
    ),
    "a key that its variant must have": (
        "name: quick\n",
        "name: quick\ntask: {kind: regression, data: {source: files}}\n",
        "task.data.path",
        2,
        "this is missing",
        "add it: a file, or a folder with train.*, validation.*, test.*",
    ),
    "a name no folder should have": (
        "name: quick",
        "name: Quick",
        "name",
        1,
        "string should match pattern '^[a-z0-9][a-z0-9._-]{0,63}$', but \"Quick\" was given",
        "lower-case letters, digits, dots, hyphens; names the job's folder",
    ),
    "a metric of another task": (
        "name: quick\n",
        "name: quick\nevaluate:\n  metrics: [accuracy, pearson]\n",
        "evaluate.metrics",
        3,
        "pearson is not a metric of classification",
        "allowed are accuracy, f1, matthews, accuracy_f1",
    ),
    "a metric twice": (
        "name: quick\n",
        "name: quick\nevaluate: {metrics: [f1, f1]}\n",
        "evaluate",
        2,
        "a metric is named twice",
        "name each one once",
    ),
    "a layer by no known name": (
        "name: quick\n",
        "name: quick\nscore: {layer: first}\n",
        "score.layer",
        2,
        "'first' names no layer",
        "give last, a number, or decoder.-1",
    ),
    "a mapping where one of two types goes": (
        "name: quick\n",
        "name: quick\nscore: {layer: {}}\n",
        "score.layer",
        2,
        "input should be a valid integer, but {} was given; or input should be a valid string",
        SCORED,
    ),
    "a layer of no stack": (
        "{kind: ft}",
        "{kind: cka, layers: {0: middle.1}}",
        "sweep.methods[0].layers.0",
        4,
        "'middle.1' names no layer",
        "give last, a number, or decoder.-1",
    ),
    "a student's layer by no known name": (
        "{kind: ft}",
        "{kind: cka, layers: {first: 1}}",
        "sweep.methods[0].layers.first",
        4,
        "string should match pattern '^((encoder|decoder)\\.)?-?\\d+$', but \"first\" was given",
        LAYERS,
    ),
    "a layer that is half a number": (
        "{kind: ft}",
        "{kind: cka, layers: {0: 1.5}}",
        "sweep.methods[0].layers.0",
        4,
        "input should be a valid integer, but 1.5 was given; or input should be a valid string",
        "last, a number, or decoder.-1",
    ),
    "an unknown way to pair layers": (
        "{kind: ft}",
        "{kind: cka, layers: first}",
        "sweep.methods[0].layers",
        4,
        "input should be 'last' or 'every', but \"first\" was given; or input should be an object",
        LAYERS,
    ),
    "a map of no layers": (
        "{kind: ft}",
        "{kind: cka, layers: {}}",
        "sweep.methods[0].layers",
        4,
        "input should be 'last' or 'every', but {} was given; or dictionary should have at least "
        "1 item, not 0",
        LAYERS,
    ),
    "a temperature of 0": (
        "beta: 0.5",
        "temperature: 0",
        "sweep.methods[1].temperature",
        5,
        "input should be greater than 0, but 0 was given",
        "τ; the loss is scaled by τ²",
    ),
    "a temperature of 0 of a feature method's logit loss": (
        "{kind: ft}",
        "{kind: flexkd, logit: {kind: forward_kl, temperature: 0}}",
        "sweep.methods[0].logit.temperature",
        4,
        "input should be greater than 0, but 0 was given",
        "τ; the loss is scaled by τ²",
    ),
    "a temperature where the logit loss has it": (
        "{kind: ft}",
        "{kind: flexkd, temperature: 4}",
        "sweep.methods[0].temperature",
        4,
        "unknown key 'temperature'",
        "allowed here: alpha, beta, kind, lambda, layers, logit, loss, on_policy, pairing, "
        "reduction, target",
    ),
    "a logit loss without kind": (
        "{kind: ft}",
        "{kind: flexkd, logit: {temperature: 4}}",
        "sweep.methods[0].logit.kind",
        4,
        "this is missing",
        "allowed: forward_kl, jsd, logit_mse, reverse_kl, skew_forward_kl, skew_reverse_kl, tvd",
    ),
    "none of the outputs": (
        "beta: 0.5",
        "top_k: 0",
        "sweep.methods[1].top_k",
        5,
        "input should be greater than 0, but 0 was given",
        "compare the teacher's likeliest classes, and the rest as one",
    ),
    "a negative skew": (
        "{kind: ft}",
        "{kind: skew_fkl, skew: -0.1}",
        "sweep.methods[0].skew",
        4,
        "input should be greater than or equal to 0, but -0.1 was given",
        "share of the teacher in the mixture",
    ),
    "a student that is all of the mixture": (
        "{kind: ft}",
        "{kind: skew_rkl, skew: 1}",
        "sweep.methods[0].skew",
        4,
        "input should be less than 1, but 1 was given",
        "share of the student in the mixture",
    ),
    "responses drawn in none of the steps": (
        "{kind: ft}",
        "{kind: minillm, on_policy: {share: 0}}",
        "sweep.methods[0].on_policy.share",
        4,
        "input should be greater than 0, but 0 was given",
        "share of the steps on drawn responses",
    ),
    "a teacher made of no config": (
        "name: quick\n",
        "name: quick\nteacher: {model: {vocab_size: 512}}\n",
        "teacher.model.config",
        2,
        "this is missing",
        "add it: as in a config.json: model_type and the sizes of that architecture",
    ),
    "a config's unknown neighbour": (
        "name: quick\n",
        "name: quick\nteacher: {model: {config: {}, vocab: 512}}\n",
        "teacher.model.vocab",
        2,
        "unknown key 'vocab'",
        "did you mean 'vocab_size'? allowed here: config, seed, vocab_size",
    ),
    "a decoding without kind": (
        "name: quick\n",
        "name: quick\nevaluate: {decoding: {beams: 2}}\n",
        "evaluate.decoding.kind",
        2,
        "this is missing",
        "allowed: beam, greedy, sample",
    ),
    "a decoding's wrong setting": (
        "name: quick\n",
        "name: quick\nevaluate: {decoding: {kind: sample, top_p: 0}}\n",
        "evaluate.decoding.top_p",
        2,
        "input should be greater than 0, but 0 was given",
        "smallest set of tokens of this probability",
    ),
    "a setting of another decoding": (
        "name: quick\n",
        "name: quick\nevaluate: {decoding: {kind: greedy, beams: 2}}\n",
        "evaluate.decoding.beams",
        2,
        "unknown key 'beams'",
        "allowed here: kind",
    ),
    "a metric of a task with labels": (
        "name: quick\n",
        "name: quick\ntask: {kind: instruction}\nevaluate: {metrics: [accuracy]}\n",
        "evaluate.metrics",
        3,
        "accuracy is not a metric of instruction",
        "allowed are rougeL, rouge1, rouge2, bertscore, nll",
    ),
    "a label column for instructions": (
        "name: quick\n",
        "name: quick\ntask: {kind: instruction, data: {source: hub, name: x, label: y}}\n",
        "task.data.label",
        2,
        "unknown key 'label'",
        "allowed here: config, input, instruction, name, output, revision, source, splits, "
        "subset_seed, test, test_share, train, validation, validation_share",
    ),
    "an instruction column for documents": (
        "name: quick\n",
        "name: quick\ntask: {kind: summarization, data: {source: files, path: x, output: y}}\n",
        "task.data.output",
        2,
        "unknown key 'output'",
        "allowed here: document, path, source, subset_seed, summary, test, test_share, train, "
        "validation, validation_share",
    ),
    "a data set of another task": (
        "name: quick\n",
        "name: quick\ntask: {kind: summarization, data: {source: builtin, name: movie-reviews}}\n",
        "task.data.name",
        2,
        "input should be 'docstrings', but \"movie-reviews\" was given",
        "6,000 docstrings of Python and six scientific packages (PSF-2.0, BSD-3)",
    ),
    "a wrong column of an evaluation set": (
        "name: quick\n",
        "name: quick\ntask: {kind: instruction, evaluation: {self: {source: builtin, texts: y}}}\n",
        "task.evaluation.self.texts",
        2,
        "unknown key 'texts'",
        "did you mean 'test'? allowed here: name, source, subset_seed, test, train, validation",
    ),
    "a name no evaluation set should have": (
        "name: quick\n",
        "name: quick\ntask: {kind: instruction, evaluation: {Self: {source: builtin}}}\n",
        "task.evaluation.Self",
        2,
        "string should match pattern '^[a-z0-9][a-z0-9_-]*$', but \"Self\" was given",
        "more sets to measure on, by name; of each its test split, or all of a single file",
    ),
    "an axis to nowhere": (
        "  seeds:",
        "  axes:\n    distill.epochs: [1, 2]\n    distill.epoch: [1]\n  seeds:",
        'sweep.axes["distill.epoch"][0]',
        9,
        "distill.epoch: unknown key 'epoch'",
        f"did you mean 'epochs'? allowed here: {DISTILL}",
    ),
    "an axis with a wrong value": (
        "  seeds:",
        "  axes:\n    distill.epochs: [1, 2]\n    distill.learning_rate: [1, -2]\n  seeds:",
        'sweep.axes["distill.learning_rate"][1]',
        9,
        "distill.learning_rate: input should be greater than 0, but -2 was given",
        "peak learning rate",
    ),
    "an axis of what changes no result": (
        "  seeds:",
        "  axes: {resources.score_workers: [1, 2]}\n  seeds:",
        'sweep.axes["resources.score_workers"]',
        7,
        "'resources.score_workers' names no field of a trial",
        "an axis is a dotted path into task, teacher, student, score, distill",
    ),
    "an axis over the sweep itself": (
        "  seeds:",
        "  axes: {'sweep.methods[1].beta': [1, 2]}\n  seeds:",
        'sweep.axes["sweep.methods[1].beta"]',
        7,
        "'sweep.methods[1].beta' names no field of a trial",
        "an axis is a dotted path into task, teacher, student, score, distill",
    ),
    "an axis that is no list": (
        "  seeds:",
        "  axes:\n    distill.epochs: 1\n  seeds:",
        'sweep.axes["distill.epochs"]',
        8,
        "input should be a valid array, but 1 was given",
        "",
    ),
    "a baseline that is no method of the sweep": (
        "  seeds:",
        "  baseline: gram\n  seeds:",
        "sweep.baseline",
        7,
        "gram is not a method of this sweep",
        "name one of ft, kd, flexkd; null for none",
    ),
    "a published number of another task": (
        "name: quick\n",
        "name: quick\nreference: [{method: ft, metric: rougeL, mean: 1}]\n",
        "reference[0].metric",
        2,
        "rougeL is not a metric of classification",
        "allowed are accuracy, f1, matthews, accuracy_f1",
    ),
    "an axis without values": (
        "  seeds:",
        "  axes: {distill.epochs: []}\n  seeds:",
        "sweep.axes",
        7,
        "axis distill.epochs has no values",
        "give it at least one",
    ),
}


@pytest.mark.parametrize("what", ONE_PROBLEM)
def test_says_where_what_was_given_and_what_is_allowed(
    what: str, text: str, problems: Problems
) -> None:
    before, after, path, line, message, remedy = ONE_PROBLEM[what]
    assert text.count(before) == 1
    found = problems(text.replace(before, after))
    assert found == (Problem(path, message, remedy, line),)


@pytest.mark.parametrize(
    ("bad", "where", "why"),
    [
        ("name: [\n", "line 2, column 1", "expected the node content, but found '<stream end>'"),
        ("name: a\n\tb: 1\n", "line 2, column 1", r"found character '\t' that cannot start any"),
        ("name: a\nname: b\n", "line 2, column 1", "the key 'name' stands twice"),
        ("name: a\nx:\n  1: a\n  '1': b\n", "line 4, column 3", "the key '1' stands twice"),
        ("name: *nobody\n", "line 1, column 7", "found undefined alias 'nobody'"),
        ("name: \x07\n", "", "special characters are not allowed"),
    ],
)
def test_text_that_is_no_yaml(bad: str, where: str, why: str, problems: Problems) -> None:
    (problem,) = problems(bad)
    assert problem.path == where
    assert problem.message.startswith("invalid YAML: ")
    assert why in problem.message
    assert problem.remedy == "check the indentation, colons and brackets there"


def test_an_anchor_inside_itself(text: str, problems: Problems) -> None:
    (problem,) = problems(text + "reference: &r [*r]\n")
    assert problem == Problem(
        "", "an anchor holds a reference to itself", "write the values out in one of the places"
    )


@pytest.mark.parametrize(
    ("content", "given"), [("", "nothing"), ("# x\n", "nothing"), ("- 1\n", "a list")]
)
def test_a_file_that_holds_no_spec(content: str, given: str, problems: Problems) -> None:
    (problem,) = problems(content)
    assert problem == Problem(
        "", f"the file holds {given}", "a job spec is a mapping: name, sweep, …"
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    absent, binary = tmp_path / "absent.yaml", tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff\n")
    for file, reason in (
        (absent, "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "it is not UTF-8 text"),
    ):
        with pytest.raises(SpecError) as caught:
            load_spec(file)
        assert caught.value.source == str(file)
        assert caught.value.problems == (
            Problem("", f"cannot read {file}: {reason}", "give the path of a job spec in YAML"),
        )


def test_all_problems_at_once(problems: Problems) -> None:
    found = problems(
        "name: X\n"
        "sweep:\n"
        "  methods:\n"
        "    - {kind: nope}\n"
        "    - {kind: flexkd, alpha: [-1, 0.5, -2]}\n"
        "distill: {epochs: 0, nope: 1}\n",
        ["score.chunk=0", "oops"],
    )
    assert {(p.path, p.line) for p in found} == {
        ("name", 1),
        ("sweep.methods[0].kind", 4),
        ("sweep.methods[1].alpha[0]", 5),
        ("sweep.methods[1].alpha[2]", 5),
        ("distill.epochs", 6),
        ("distill.nope", 6),
        ("score.chunk", None),
        ("--set", None),
    }
    assert len(found) == 8


def test_names_that_are_wrong_show_together(problems: Problems) -> None:
    given = ["sweep.baseline=gram", "reference=[{method: cka, metric: rougeL, mean: 1}]"]
    assert [p.path for p in problems(overrides=given)] == [
        "sweep.baseline",
        "reference[0].metric",
    ]


def test_published_numbers_of_other_methods_may_stay(load: Callable[..., JobSpec]) -> None:
    """A sweep is narrowed by `--set` without touching them."""
    spec = load(overrides=["reference=[{method: cka, metric: accuracy, mean: 1}]"])
    assert [published.method for published in spec.reference] == ["cka"]


def test_without_the_default_baseline_a_spec_loads_again(
    load: Callable[..., JobSpec], text: str
) -> None:
    """Written out it names `ft`, which nobody gave."""
    spec = load(text.replace("    - {kind: ft}\n", ""))
    written = yaml.safe_dump(spec.to_json(), sort_keys=False)
    assert "baseline: ft" in written
    assert load(written) == spec


def test_axis_problems_show_together(text: str, problems: Problems) -> None:
    found = problems(
        text + "  axes: {distill.epochs: [0, 1, -1], tracking.experiment: [a], student.x: [1]}\n"
    )
    assert [p.path for p in found] == [
        'sweep.axes["distill.epochs"][0]',
        'sweep.axes["distill.epochs"][2]',
        'sweep.axes["tracking.experiment"]',
        'sweep.axes["student.x"][0]',
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "distill.epochs",
            Problem(
                "--set",
                "'distill.epochs' is not an assignment",
                "write --set path=value, as --set distill.epochs=3",
            ),
        ),
        (
            "=3",
            Problem(
                "--set",
                "'=3' is not an assignment",
                "write --set path=value, as --set distill.epochs=3",
            ),
        ),
        (
            "distill.epochs=-3",
            Problem(
                "distill.epochs",
                "input should be greater than 0, but -3 was given",
                "passes over the training split",
            ),
        ),
        (
            "sweep.methods[3].alpha=2",
            Problem(
                "sweep.methods[3].alpha",
                "sweep.methods has 3 entries only",
                "name a field of the spec",
            ),
        ),
        ("name.x=2", Problem("name.x", "name has no part 'x'", "name a field of the spec")),
        (
            "distill.epochs=[",
            Problem(
                "distill.epochs",
                "invalid YAML: expected the node content, but found '<stream end>'",
                "quote the value",
            ),
        ),
        *(
            (
                f"{path}={value}",
                Problem(
                    path,
                    "an anchor holds a reference to itself",
                    "write the values out in one of the places",
                ),
            )
            for path, value in (("distill.epochs", "&a [*a]"), ("distill", "&a {epochs: *a}"))
        ),
        (
            "sweep.methods[0].alpha=2",
            Problem("sweep.methods[0].alpha", "unknown key 'alpha'", "allowed here: kind"),
        ),
    ],
)
def test_overrides_that_are_wrong(override: str, problem: Problem, problems: Problems) -> None:
    """They have no line: the file is not to blame."""
    assert problems(overrides=[override]) == (problem,)


def test_anchors_that_hold_each_other_deeply_are_refused(text: str, problems: Problems) -> None:
    """Each line is flat; what they come to is thousands of lists in each other."""
    lines = "".join(f"  - &a{place + 1} [*a{place}]\n" for place in range(2000))
    (found,) = problems(f"{text}x:\n  - &a0 1\n{lines}")
    assert found.message == "anchors hold each other too deeply"


def test_a_key_that_json_has_not_is_refused(problems: Problems, text: str) -> None:
    (found,) = problems(f"{text}x: {{!!timestamp 2024-01-01: 1}}\n")
    assert (found.message, found.remedy) == ("a key is neither text nor a number", "quote it")


def test_an_override_keeps_the_lines_of_its_neighbours(text: str, problems: Problems) -> None:
    found = problems(text.replace("[10, 20]", "[]"), ["sweep.seed=1", "distill.epochs=0"])
    assert {p.path: p.line for p in found} == {
        "sweep.seeds": 7,
        "sweep.seed": None,
        "distill.epochs": None,
    }


def test_a_problem_in_words() -> None:
    assert str(Problem("a.b", "x is wrong", "do y", 3)) == "a.b (line 3): x is wrong\n    → do y"
    assert str(Problem("a.b", "x is wrong")) == "a.b: x is wrong"
    assert str(Problem("", "x is wrong")) == "x is wrong"
    error = SpecError([Problem("a", "one"), Problem("b", "two")], "job.yaml")
    assert str(error) == "a: one\nb: two"
    assert isinstance(error, ValueError)


def test_changes_are_validated(load: Callable[..., object]) -> None:
    spec = load()
    with pytest.raises(SpecError) as caught:
        spec_with(spec, {"distill.epochs": -1, "name.x": 1})  # type: ignore[arg-type]
    assert [p.path for p in caught.value.problems] == ["name.x", "distill.epochs"]


def test_changes_are_left_as_they_were(load: Callable[..., object]) -> None:
    """A path that reaches into another change's value does not write to the caller's."""
    init = {"kind": "random", "layers": 2}
    changes = {"student.init": init, "student.init.layers": 1}
    changed = spec_with(load(), changes)  # type: ignore[arg-type]
    assert changed.student.init.to_json()["layers"] == 1
    assert init == {"kind": "random", "layers": 2}
