"""Each step of a spec: its identity, and the steps it needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..spec import (
    DECODING,
    MAX_NEW_TOKENS,
    AlignedInit,
    BlankModel,
    CutInit,
    FeatureMethod,
    FilesSource,
    FlexKd,
    GenerationTask,
    JobSpec,
    Method,
    RandomInit,
    Score,
    Section,
    SeqKd,
    TeacherMethod,
    TextTask,
)
from .facts import Facts
from .layers import LayerRef, Pair, layer_pairs, stack_of
from .step import Step
from .trial import method_identity, uses_features, uses_outputs

DEFAULT_OUTPUT = {
    "classification": "predicted_logit",
    "regression": "value",
    "instruction": "label_logprob",
    "summarization": "label_logprob",
}
"""F of the score where the spec names none."""

LARGEST_CACHE = 2**31
"""fp32 numbers (8 GiB) that a trial reads of teacher caches; beyond, it asks the teacher live."""

OUTPUTS = "outputs"
"""What a cache of the teacher's outputs holds, where others name the layer they hold."""


# --- data --------------------------------------------------------------------------------------


def dataset_step(spec: JobSpec, facts: Facts) -> Step:
    """The splits, read from their source once."""
    return _source_step(spec, spec.task.data, facts.data_fingerprint, None)


def set_step(spec: JobSpec, facts: Facts, name: str) -> Step:
    """One more set to measure on."""
    return _source_step(spec, spec.task.evaluation[name], facts.sets[name], name)


def _source_step(spec: JobSpec, source: Section, fingerprint: str, name: str | None) -> Step:
    data = source.to_json()
    # The content counts and not its place; a branch and its commit are the same data.
    identity = {k: v for k, v in data.items() if k not in {"path", "revision"}}
    identity |= {"task": spec.task.kind, "fingerprint": fingerprint}
    if name is not None:
        identity["part"] = "evaluation"
    if isinstance(source, FilesSource):
        identity["name"] = "files"
    task = spec.task.to_json()
    for place in (task["data"], *task["evaluation"].values()):
        if "path" in place:  # a worker has another working directory
            place["path"] = str(Path(place["path"]).expanduser().absolute())
    return Step("dataset", identity, run={"task": task, "set": name})


# --- the teacher and what is asked of it -------------------------------------------------------


def base_step(spec: JobSpec, facts: Facts) -> Step | None:
    """The untrained teacher where it is made from a config; None where it comes from elsewhere."""
    if not isinstance(spec.teacher.model, BlankModel):
        return None
    identity = {
        **spec.teacher.model.to_json(),
        "language_model": isinstance(spec.task, GenerationTask),
    }
    return Step("base", identity, {"dataset": dataset_step(spec, facts)})


def teacher_step(spec: JobSpec, facts: Facts) -> Step:
    """The teacher, fitted to the task."""
    finetune = _recipe(spec.teacher.finetune) if spec.teacher.finetune else None
    identity = {"model": facts.teacher_fingerprint, "finetune": finetune, **_reading(spec, facts)}
    needs = {"dataset": dataset_step(spec, facts), **_base(spec, facts)}
    return Step("teacher", identity, needs, run=_teacher_source(spec, facts))


def cache_step(spec: JobSpec, facts: Facts, holds: LayerRef) -> Step:
    """One layer's hidden states on every training example, or what the outputs are made of."""
    teacher = teacher_step(spec, facts)
    identity = {"holds": holds, "dtype": "float32", "chunk": spec.score.chunk}
    return Step("cache", identity, {"teacher": teacher, "dataset": teacher.needs["dataset"]})


def cache_numbers(reading: Mapping[str, Any], facts: Facts, holds: LayerRef) -> int:
    """fp32 numbers that a cache holds; of text at most, since responses are as long as they are.

    reading: identity of the teacher.
    """
    if reading["task"] in DECODING:
        # Text's outputs are kept as the hidden states that the head reads.
        limit = "max_prompt" if stack_of(holds) == "encoder" else "max_response"
        return facts.train_rows * int(reading[limit]) * facts.teacher_hidden
    return facts.train_rows * (facts.outputs if holds == OUTPUTS else facts.teacher_hidden)


def score_step(spec: JobSpec, facts: Facts, layer: LayerRef) -> Step:
    """The importance vector G of one of the teacher's layers."""
    teacher = teacher_step(spec, facts)
    identity = {
        **importance_identity(spec.score, spec.task.kind),
        "layer": layer,
        "samples": spec.score.samples if spec.score.samples != "all" else facts.train_rows,
        "chunk": spec.score.chunk,
        "geometry": spec.score.geometry and spec.score.kind == "gradient",
    }
    return Step("score", identity, {"teacher": teacher, "dataset": teacher.needs["dataset"]})


def importance_identity(score: Score, task: str) -> dict[str, Any]:
    """The settings that the kind of importance reads, and no others."""
    identity: dict[str, Any] = {"kind": score.kind}
    if score.kind in {"gradient", "integrated_gradients"}:
        identity["output"] = score.output or DEFAULT_OUTPUT[task]
    if score.kind == "integrated_gradients":
        identity["steps"] = score.steps
    if score.kind == "random":
        identity["seed"] = score.seed
    return identity


def select_step(spec: JobSpec, facts: Facts, layer: LayerRef, target: str = "units") -> Step:
    """The d_S units of largest importance in rank order, or as many directions."""
    identity = {"count": facts.student_hidden, "target": target}
    return Step("select", identity, {"score": score_step(spec, facts, layer)})


def generate_step(spec: JobSpec, facts: Facts, method: SeqKd) -> Step:
    """The teacher's own responses to the training prompts."""
    assert isinstance(spec.task, GenerationTask)
    teacher = teacher_step(spec, facts)
    decodings: dict[str, dict[str, Any]] = {
        "greedy": {"kind": "greedy"},
        "beam": {"kind": "beam", "beams": 4, "length_penalty": 1.0, "no_repeat_ngram": 0},
        "sample": {
            "kind": "sample",
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": None,
            "seeds": [method.seed],
        },
    }
    identity = {
        "decoding": decodings[method.decoding],
        "max_new_tokens": spec.task.max_response,
        "chunk": spec.score.chunk,
    }
    return Step("generate", identity, {"teacher": teacher, "dataset": teacher.needs["dataset"]})


# --- students ----------------------------------------------------------------------------------


def distill_step(spec: JobSpec, facts: Facts, method: Method, seed: int) -> Step:
    """One student's training. It needs the teacher only where its loss reads it."""
    distill = _recipe(spec.distill)
    needs = {"dataset": dataset_step(spec, facts), **_student_needs(spec, facts)}
    cache = distill.pop("teacher_cache")
    if isinstance(method, SeqKd):
        needs["generated"] = generate_step(spec, facts, method)
    identity: dict[str, Any] = {"method": method_identity(method, spec.task.kind)}
    if isinstance(method, TeacherMethod) and (uses_features(method) or uses_outputs(method)):
        pairs: tuple[Pair, ...] = ()
        if isinstance(method, FeatureMethod) and uses_features(method):
            pairs = layer_pairs(method, facts.student_stacks, facts.teacher_stacks, facts.scored)
        identity["layers"] = [list(pair) for pair in pairs]
        selects = isinstance(method, FlexKd) and uses_features(method)
        reselects = selects and spec.score.aggregation == "batch"
        held: list[LayerRef] = [OUTPUTS] if uses_outputs(method) else []
        held = list(dict.fromkeys([*held, *(theirs for _, theirs in pairs)]))
        size = sum(cache_numbers(_reading(spec, facts), facts, holds) for holds in held)
        live = method.on_policy is not None or reselects or size > LARGEST_CACHE
        distill["teacher_cache"] = "off" if live else cache
        if distill["teacher_cache"] == "off":
            needs["teacher"] = teacher_step(spec, facts)
        else:
            for holds in held:
                needs[f"cache {holds}"] = cache_step(spec, facts, holds)
        if reselects:
            importance = importance_identity(spec.score, spec.task.kind)
            identity["reselect"] = {**importance, "every": spec.score.every}
        elif selects:
            assert isinstance(method, FlexKd)
            for _, theirs in pairs:
                needs[f"select {theirs}"] = select_step(spec, facts, theirs, method.target)
    identity |= {
        "student": _student_identity(spec, facts),
        "distill": distill,
        "seed": seed,
        **_reading(spec, facts),
    }
    if spec.student.warm_up is not None:
        needs["start"] = warm_up_step(spec, facts, seed)
    return Step("distill", identity, needs, _student_run(spec, facts))


def warm_up_step(spec: JobSpec, facts: Facts, seed: int) -> Step:
    """The fine-tuned student; others start from its best checkpoint on the validation split."""
    assert spec.student.warm_up is not None
    recipe = {k: v for k, v in _recipe(spec.student.warm_up).items() if k != "seed"}
    identity = {
        "method": {"kind": "ft"},
        "student": _student_identity(spec, facts),
        "distill": {**recipe, "dropout": spec.distill.dropout, "keep": "best"},
        "seed": seed,
        **_reading(spec, facts),
    }
    needs = {"dataset": dataset_step(spec, facts), **_student_needs(spec, facts)}
    return Step("warm_up", identity, needs, _student_run(spec, facts))


def _student_needs(spec: JobSpec, facts: Facts) -> dict[str, Step]:
    """What a student's first weights are made of, besides the teacher's pretrained ones."""
    init = spec.student.init
    needs = _base(spec, facts) if isinstance(init, CutInit | RandomInit) else {}
    if isinstance(init, CutInit) and init.weights == "finetuned":
        needs["source"] = teacher_step(spec, facts)
    if isinstance(init, AlignedInit):
        # Both stacks of an encoder–decoder share its word embedding, which is cut once.
        last = facts.scored[-1]
        needs[f"aligned {stack_of(last)}".strip()] = select_step(spec, facts, last)
    return needs


def _student_identity(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    """Initial weights by content: a cut or random student is made from the teacher's model."""
    init = spec.student.init
    identity = {k: v for k, v in init.to_json().items() if k not in {"model", "revision"}}
    made = isinstance(init, CutInit | RandomInit)
    identity["from"] = facts.teacher_fingerprint if made else facts.student_fingerprint
    return {"init": identity}


def _student_run(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    init = spec.student.init.to_json()
    if facts.student_source:
        init |= {"model": facts.student_source, "revision": None}
    return {"student": {"init": init}, **_teacher_source(spec, facts)}


# --- measuring ---------------------------------------------------------------------------------


def evaluate_step(spec: JobSpec, facts: Facts, model: Step) -> Step:
    """A student's, or the teacher's, metrics on the split and on every evaluation set."""
    identity: dict[str, Any] = {
        "metrics": list(spec.metrics),
        "split": spec.evaluate.split,
        "task": spec.task.kind,
    }
    run: dict[str, Any] = {}
    if isinstance(spec.task, GenerationTask):
        decoding = spec.evaluate.decoding or DECODING[spec.task.kind]
        identity |= {
            "decoding": decoding.to_json(),
            "max_new_tokens": spec.evaluate.max_new_tokens or MAX_NEW_TOKENS[spec.task.kind],
            "protocol": spec.evaluate.protocol,
        }
        if "bertscore" in spec.metrics:
            identity["bertscore"] = facts.bertscore or spec.evaluate.bertscore_model
            run["bertscore_model"] = facts.bertscore_source or spec.evaluate.bertscore_model
    sets = {f"set {name}": set_step(spec, facts, name) for name in spec.task.evaluation}
    needs = {"student": model, "dataset": model.needs["dataset"], **sets}
    return Step("evaluate", identity, needs, run)


# --- what several steps say --------------------------------------------------------------------


def _base(spec: JobSpec, facts: Facts) -> dict[str, Step]:
    base = base_step(spec, facts)
    return {} if base is None else {"base": base}


def _teacher_source(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    if isinstance(spec.teacher.model, BlankModel):
        return {"model": None, "revision": None}
    if facts.teacher_source:
        return {"model": facts.teacher_source, "revision": None}
    return {"model": spec.teacher.model, "revision": spec.teacher.revision}


def _recipe(settings: Section) -> dict[str, Any]:
    """The settings of a training. Precision came later: without it, a hash is what it was."""
    found = settings.to_json()
    if found["precision"] == "fp32":
        del found["precision"]
    return found


def _reading(spec: JobSpec, facts: Facts) -> dict[str, Any]:
    """How a model reads examples, and how wide its outputs are."""
    task = spec.task
    if isinstance(task, TextTask):
        return {
            "task": task.kind,
            "outputs": facts.outputs,
            "max_length": task.max_length,
            "padding": task.padding,
        }
    template = task.template if task.kind == "instruction" else "none"
    return {
        "task": task.kind,
        "outputs": facts.outputs,
        "max_prompt": task.max_prompt,
        "max_response": task.max_response,
        "template": template,
    }
