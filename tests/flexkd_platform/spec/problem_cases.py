"""Specs with one problem each, and what is reported: sections beside the sweep come first."""

from __future__ import annotations

METHODS = (
    "'ft', 'kd', 'seqkd', 'minillm', 'jsd', 'skew_fkl', 'skew_rkl', 'tvd', 'uld', 'projector', "
    "'cka', 'flexkd', 'procrustes', 'gram'"
)
DISTILL = (
    "batch_size, batches, dropout, epochs, keep, learning_rate, max_grad_norm, max_steps, "
    "precision, teacher_cache, warmup_share, weight_decay"
)
LAYERS = (
    "last: the student's last with score.layer; every: each of the student's with evenly spaced "
    "ones of the teacher, and last with last; or a map {student layer: teacher layer}"
)
SCORED = (
    "teacher layer that is scored and matched: last, the hidden state that the head reads, after "
    "the final norm; a number, a block's output (negative from the end); or of an encoder–decoder "
    "one stack's alone, as decoder.last"
)

Case = tuple[str, str, str, int, str, str]
"""What is replaced in the spec, by what, path, line, message, remedy."""

CASES: dict[str, Case] = {
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
        'expected a number, but "0.5" was given',
        "β, weight of the logit loss",
    ),
    "true where a number goes": (
        "beta: 0.5",
        "beta: true",
        "sweep.methods[1].beta",
        5,
        "expected a number, but true was given",
        "β, weight of the logit loss",
    ),
    "a seed that is not a whole number": (
        "[10, 20]",
        "[10, 20.5]",
        "sweep.seeds[1]",
        7,
        "expected a whole number, but 20.5 was given",
        "",
    ),
    "a section that is null": (
        "name: quick\n",
        "name: quick\nscore:\n",
        "score",
        2,
        "expected a mapping, but null was given",
        "One pass over training examples that gives every unit of one teacher layer its score.",
    ),
    "a number that is not finite": (
        "beta: 0.5",
        "beta: .nan",
        "sweep.methods[1].beta",
        5,
        "expected a finite number, but NaN was given",
        "β, weight of the logit loss",
    ),
    "a negative weight inside a method's axis": (
        "[0.05, 0.5]",
        "[0.05, -0.5]",
        "sweep.methods[2].alpha[1]",
        6,
        "expected a number of at least 0, but -0.5 was given",
        "α, weight of the feature loss; left out: 0.5 for classification and regression, 0.05 for "
        "text tasks",
    ),
    "an axis of a method without values": (
        "[0.05, 0.5]",
        "[]",
        "sweep.methods[2].alpha",
        6,
        "expected a number, but [] was given",
        "α, weight of the feature loss; left out: 0.5 for classification and regression, 0.05 for "
        "text tasks",
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
        "expected a list of at least 1 item, but [] was given",
        "results are aggregated over them",
    ),
    "only a seed that is wrong": (
        "[10, 20]",
        "[-1]",
        "sweep.seeds[0]",
        7,
        "expected a number of at least 0, but -1 was given",
        "",
    ),
    "a seed twice": (
        "[10, 20]",
        "[10, 20, 10]",
        "sweep.seeds",
        7,
        "a seed is listed twice",
        "list each once",
    ),
    "unknown method": (
        "kind: kd",
        "kind: kdd",
        "sweep.methods[1].kind",
        5,
        "unknown value 'kdd'",
        f"did you mean 'kd'? allowed: {METHODS}",
    ),
    "several methods in one": (
        "{kind: ft}",
        "{kind: [ft, kd]}",
        "sweep.methods[0].kind",
        4,
        "unknown value ['ft', 'kd']",
        f"allowed: {METHODS}",
    ),
    "a method without kind": (
        "kind: kd, ",
        "",
        "sweep.methods[1].kind",
        5,
        "missing key",
        "allowed: cka, flexkd, ft, gram, jsd, kd, minillm, procrustes, projector, seqkd, skew_fkl, "
        "skew_rkl, tvd, uld",
    ),
    "a method that is a word": (
        "{kind: ft}",
        "ft",
        "sweep.methods[0]",
        4,
        'expected a mapping, but "ft" was given',
        "",
    ),
    "a key that must be there": (
        "name: quick\n",
        "",
        "name",
        None,
        "missing key",
        "add it: lower-case letters, digits, dots, hyphens; names the job's folder",
    ),
    "a key that its variant must have": (
        "name: quick\n",
        "name: quick\ntask: {kind: regression, data: {source: files}}\n",
        "task.data.path",
        2,
        "missing key",
        "add it: a file, or a folder with train.*, validation.*, test.*",
    ),
    "a name no folder should have": (
        "name: quick",
        "name: Quick",
        "name",
        1,
        "expected 1 to 64 lower-case letters, digits, dots, hyphens or underscores, of which the "
        'first is a letter or digit, but "Quick" was given',
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
        "a metric is listed twice",
        "list each once",
    ),
    "a layer by no known name": (
        "name: quick\n",
        "name: quick\nscore: {layer: first}\n",
        "score.layer",
        2,
        "unknown layer 'first'",
        "give last, a number, or decoder.last",
    ),
    "a mapping where one of two types goes": (
        "name: quick\n",
        "name: quick\nscore: {layer: {}}\n",
        "score.layer",
        2,
        "expected a whole number, or text, but {} was given",
        SCORED,
    ),
    "a layer of no stack": (
        "{kind: ft}",
        "{kind: cka, layers: {0: middle.1}}",
        "sweep.methods[0].layers.0",
        4,
        "unknown layer 'middle.1'",
        "give last, a number, or decoder.last",
    ),
    "a student's layer by no known name": (
        "{kind: ft}",
        "{kind: cka, layers: {first: 1}}",
        "sweep.methods[0].layers.first",
        4,
        'expected last, a number, or decoder.last, but "first" was given',
        LAYERS,
    ),
}
