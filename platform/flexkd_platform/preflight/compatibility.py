"""Compatibility checks between methods and tasks, tasks and models, and teacher and student."""

from __future__ import annotations

from collections.abc import Iterator

from ..model_info import FAMILIES, PACKED, ModelFacts
from ..plan import LayerRef, layer_pairs, layer_refs, precedes_norm, stack_of
from ..spec import (
    AlignedInit,
    BlankModel,
    CutInit,
    InstructionTask,
    JobSpec,
    LogitTerm,
    Method,
    PretrainedInit,
    Problem,
    ResponseTask,
    SummarizationTask,
    TextTask,
    multilabel,
    regresses,
)
from .selection import selection_problems
from .vocabularies import tokenizer_problems


def method_problems(
    spec: JobSpec, outputs: int | None, teacher: ModelFacts | None, student: ModelFacts | None
) -> list[Problem]:
    """The problems of the methods, given the task and, if they are known, the models.

    outputs: the number of classes or tokens that both models have in common.
    """
    problems: list[Problem] = []
    for place, method in enumerate(spec.sweep.methods):
        path = f"sweep.methods[{place}]"
        problems += _task_problems(spec, method, path)
        if outputs is not None:
            problems += _top_k_problems(spec, method, outputs, path)
        if teacher is not None and student is not None:
            problems += _layer_problems(spec, method, teacher, student, path)
    return problems


def _task_problems(spec: JobSpec, method: Method, path: str) -> Iterator[Problem]:
    task = spec.task.kind
    writes = isinstance(spec.task, ResponseTask)
    if method.responses is not None and not writes:
        yield Problem(
            f"{path}.kind",
            f"{method.kind} trains on the teacher's responses and requires a text generation "
            f"task, not {task}",
            "use kd, or a text generation task: instruction, summarization",
        )
    if method.draws is not None:
        if not writes:
            yield Problem(
                f"{path}.on_policy",
                f"sampled responses require a text generation task, not {task}",
                "leave it out, or use a text generation task: instruction, summarization",
            )
        if weight := method.weights.supervised:
            yield Problem(
                f"{path}.lambda",
                f"{weight} with on_policy, but sampled responses have no labels",
                "set lambda: 0",
            )
    term = method.logit_term
    if regresses(task) and method.uses_outputs and term is not None and not term.between_numbers:
        yield Problem(
            f"{path}.{method.logit_path[0]}",
            f"{term.name} compares probabilities, but regression outputs a number",
            "use kd or logit_mse, which is the squared difference there",
        )
    if multilabel(task) and method.uses_outputs and term is not None:
        yield from _label_problems(term, method, path)
    if method.selection is not None and method.uses_features:
        yield from selection_problems(spec, method.selection, path)
        if method.normalises and spec.score.aggregation == "batch":
            yield Problem(
                f"{path}.normalise",
                "gradient, but with score.aggregation: batch no units are selected before the "
                "training",
                "set normalise: none, or score.aggregation: global",
            )


def _label_problems(term: LogitTerm, method: Method, path: str) -> Iterator[Problem]:
    """The problems of a logit loss between labels, each of them a choice between two classes."""
    kind, top_k = method.logit_path
    if term.by_label == "none":
        yield Problem(
            f"{path}.{kind}",
            f"{term.name} compares sorted probabilities, which do not say whether a label of a "
            "multi-label task is likely or unlikely",
            "use kd, jsd, tvd, or another loss that compares each label",
        )
    if term.top_k is not None:
        yield Problem(
            f"{path}.{top_k}",
            f"{term.top_k}, but every label of a multi-label task is a distribution of its own",
            "leave it out",
        )


def _top_k_problems(spec: JobSpec, method: Method, outputs: int, path: str) -> Iterator[Problem]:
    term = method.logit_term
    if term is None or not method.uses_outputs or regresses(spec.task.kind):
        return
    if multilabel(spec.task.kind):
        return  # refused with any value
    top_k = term.top_k
    if top_k is not None and top_k > outputs:
        yield Problem(
            f"{path}.{method.logit_path[1]}",
            f"{top_k:,} of the teacher's outputs requested, but there are {outputs:,}",
            f"at most {outputs:,}",
        )


def _layer_problems(
    spec: JobSpec, method: Method, teacher: ModelFacts, student: ModelFacts, path: str
) -> Iterator[Problem]:
    if not method.uses_features:
        return
    if not _same_stacks(teacher, student):
        return  # reported as a problem of the student's model, which does not fit the task
    try:
        scored = layer_refs(spec.score.layer, teacher.stacks)
    except ValueError:
        return  # reported as a problem of score.layer
    try:
        pairs = layer_pairs(method, student.stacks, teacher.stacks, scored)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        yield Problem(f"{path}.layers", what, remedy or "name layers that both models have")
        return
    if method.selection is not None and method.layer_map != "last":
        for layer in dict.fromkeys(theirs for _, theirs in pairs):
            if _scale_free(spec, layer, teacher):
                yield Problem(f"{path}.layers", _SCALE_FREE.format(layer), _SCALED_LAYERS)


def _same_stacks(teacher: ModelFacts, student: ModelFacts) -> bool:
    """Whether both have one stack, or both an encoder and a decoder."""
    return [stack.name for stack in teacher.stacks] == [stack.name for stack in student.stacks]


_SCALE_FREE = (
    "integrated gradients at layer {}, but a norm follows it: the output does not depend on the "
    "scale of this layer's hidden state"
)
_SCALED_LAYERS = "name last, which is after the norm, or an earlier layer"


def scale_problems(spec: JobSpec, teacher: ModelFacts) -> list[Problem]:
    """The problem of integrated gradients at a scored layer that a norm follows."""
    try:
        scored = layer_refs(spec.score.layer, teacher.stacks)
    except ValueError:
        return []  # reported as a problem of score.layer
    return [
        Problem("score.layer", _SCALE_FREE.format(layer), _SCALED_LAYERS)
        for layer in scored
        if _scale_free(spec, layer, teacher)
    ]


def _scale_free(spec: JobSpec, layer: LayerRef, teacher: ModelFacts) -> bool:
    """Whether integrated gradients are degenerate: they integrate over the scale of the layer."""
    return spec.score.kind == "integrated_gradients" and precedes_norm(layer, teacher.stacks)


_OTHER_MODEL = "name a model of another architecture; see flexkd list models"


def model_problems(spec: JobSpec, model: str, facts: ModelFacts, path: str) -> Iterator[Problem]:
    """The problems of a model with the task.

    model: its name in messages.
    path: of the model in the spec.
    """
    task = spec.task
    if isinstance(task, TextTask):
        if facts.encoder_decoder:
            yield Problem(
                path,
                f"{model} is a {facts.model_type} model, an encoder–decoder, which is not "
                f"supported for {task.kind}",
                "name a single-stack model, such as bert or gpt2",
            )
        elif "classifier" in facts.unsupported:
            yield Problem(path, f"{model}: {facts.unsupported['classifier']}", _OTHER_MODEL)
        if task.padding == "left" and facts.head_reads == "first":
            yield Problem(
                "task.padding",
                f"left, but the head of a {facts.model_type} model reads the first position",
                "set padding: right",
            )
        elif task.padding == "left" and not facts.left_padding:
            yield Problem(
                "task.padding",
                f"left, but what a {facts.model_type} model computes depends on padding there",
                "set padding: right",
            )
        longest, wanted, key = facts.max_positions, task.max_length, "task.max_length"
        if wanted > longest:
            yield Problem(
                key, f"{wanted} tokens, but {model} has {longest} positions", f"at most {longest}"
            )
        return
    kind = task.language_model
    if facts.writes != kind:
        wanted_kind = "an encoder–decoder" if kind == "seq2seq" else "a causal language model"
        known = [name for name, each in FAMILIES.items() if each.language_model == kind]
        why = facts.unsupported.get("writer")
        yield Problem(
            path,
            f"{model} is a {facts.model_type} model, and {task.kind} is for {wanted_kind}"
            + (f": {why}" if why else ""),
            f"name one of these architectures: {', '.join(known)}",
        )
        return
    # A model that is created from a config gets a head.
    if not facts.language_model and not (path == "teacher.model" and _is_blank(spec)):
        yield Problem(
            path,
            f"{model} has no language-model head",
            "name the checkpoint of a language model, not of a backbone or classifier",
        )
    yield from _length_problems(spec, task, model, facts)


def packing_problems(
    spec: JobSpec, teacher: ModelFacts, student: ModelFacts | None
) -> Iterator[Problem]:
    """The problems of packed training batches."""
    if not isinstance(spec.task, InstructionTask) or not spec.task.packing:
        return
    known = ", ".join(sorted(PACKED))
    models = {"teacher.model": teacher, "student.init": student}
    for path, facts in models.items():
        if facts is not None and facts.model_type not in PACKED:
            yield Problem(
                "task.packing",
                f"{facts.model_type}, the architecture of {path}, is not known to keep packed "
                "examples apart",
                f"leave packing out, or use one of these architectures: {known}",
            )
            break
    if spec.score.aggregation == "batch":
        yield Problem(
            "task.packing",
            "true, but score.aggregation: batch reads each example of a batch by itself",
            "leave packing out, or set score.aggregation: global",
        )


def metric_problems(spec: JobSpec) -> Iterator[Problem]:
    """The problem of a setting of a metric that is not reported."""
    chosen = spec.evaluate.rouge_tokenizer
    if chosen != "auto" and not any(name.startswith("rouge") for name in spec.metrics):
        yield Problem(
            "evaluate.rouge_tokenizer",
            f"{chosen}, but no ROUGE metric is reported",
            "leave it out, or add a ROUGE metric to evaluate.metrics",
        )


def _length_problems(
    spec: JobSpec, task: InstructionTask | SummarizationTask, model: str, facts: ModelFacts
) -> Iterator[Problem]:
    wanted = {"task.max_prompt": task.max_prompt, "task.max_response": task.max_response}
    if task.writes_for(spec.metrics):
        wanted["evaluate.max_new_tokens"] = spec.evaluate.max_new_tokens or task.max_new_tokens
    longest = facts.max_positions
    if task.language_model == "seq2seq":  # its decoder has separate positions
        for key, tokens in wanted.items():
            if tokens > longest:
                message = f"{tokens} tokens, but {model} has {longest} positions"
                yield Problem(key, message, f"at most {longest}")
    else:
        new = max((key for key in wanted if key != "task.max_prompt"), key=lambda key: wanted[key])
        if task.max_prompt + wanted[new] > longest:
            yield Problem(
                "task.max_prompt",
                f"{task.max_prompt} tokens and {wanted[new]} of a response, by {new}, but {model} "
                f"has {longest} positions",
                f"together at most {longest}",
            )
    prompt = task.max_prompt if task.language_model == "causal" else 0
    for place, method in enumerate(spec.sweep.methods):
        draws = method.draws
        if draws is not None and prompt < longest < prompt + draws.max_new_tokens:
            yield Problem(
                f"sweep.methods[{place}].on_policy.max_new_tokens",
                f"{draws.max_new_tokens} tokens sampled after {prompt} of a prompt, but {model} "
                f"has {longest} positions",
                f"at most {longest - prompt}",
            )


def _is_blank(spec: JobSpec) -> bool:
    return isinstance(spec.teacher.model, BlankModel)


def pair_problems(spec: JobSpec, teacher: ModelFacts, student: ModelFacts) -> Iterator[Problem]:
    """The problems of a student with its teacher."""
    init = spec.student.init
    if isinstance(init, PretrainedInit) and "student" in student.unsupported:
        why = student.unsupported["student"]
        yield Problem("student.init.model", f"{init.model}: {why}", _OTHER_MODEL)
    if isinstance(init, AlignedInit):
        yield from _aligned_problems(spec, teacher)
    if _is_blank(spec):
        if spec.teacher.modules is not None:
            yield Problem(
                "teacher.modules",
                "given, but the model is created from a config",
                "leave it out: its parts are found by rule",
            )
        if spec.teacher.finetune is None:
            yield Problem(
                "teacher.finetune",
                "null, but a model created from a config is untrained",
                "leave finetune out, or give its settings",
            )
        if isinstance(init, CutInit) and init.weights == "pretrained":
            yield Problem(
                "student.init.weights",
                "pretrained, but the teacher is created from a config and has random weights",
                "set weights: finetuned, or student.init.kind: random",
            )
    if not isinstance(init, PretrainedInit) or not isinstance(spec.task, ResponseTask):
        return
    if not _same_stacks(teacher, student):
        return  # reported as a problem of the student's model, which does not fit the task
    if student.tokenizer_digest != teacher.tokenizer_digest:
        yield from tokenizer_problems(spec, init.model, teacher, student)


def _aligned_problems(spec: JobSpec, teacher: ModelFacts) -> Iterator[Problem]:
    """The problems of an aligned student with the scored layer and the methods' pairings."""
    last = teacher.stacks[-1].name
    try:
        scored = layer_refs(spec.score.layer, teacher.stacks)
    except ValueError:
        return  # reported as a problem of score.layer
    if stack_of(scored[-1]) != last:
        yield Problem(
            "score.layer",
            f"{spec.score.layer} does not include the {last}, whose units an aligned student needs",
            f"set score.layer: last, or {last}.last",
        )
    for place, method in enumerate(spec.sweep.methods):
        selection = method.selection if method.uses_features else None
        if selection is not None and selection.pairing == "index":
            yield Problem(
                f"sweep.methods[{place}].pairing",
                "index, but an aligned student starts with its units in rank order",
                "set pairing: rank, or student.init.kind: sliced",
            )
