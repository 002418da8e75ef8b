"""The forward passes that answer requests, on the CPU.

Shapes: B examples, T tokens, N rows compared, D units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flexkd_core import linear_cka, unit_correlation

from ..artifacts import PAIRS, UnitPairs, read_pairs
from ..models import HiddenStateHook, hidden_layer
from ..plan import LayerRef, stack_of
from ..results import JobFiles
from ..spec import Problem, SpecError
from ..store import StoreError
from ..tasks import Examples
from ..training.feature_terms import FeatureTerm
from ..training.hidden_states import HiddenStateModel, forward, positioned
from .models import LoadedModel, drawn_examples, load_student, load_teacher, same_rows
from .records import (
    Activations,
    ActivationsRequest,
    Correlations,
    CorrelationsRequest,
    LayerCorrelation,
    Request,
    Result,
    Similarity,
    SimilarityRequest,
    Subject,
)

CPU = torch.device("cpu")
BATCH = 16
"""Examples of one forward."""


@torch.no_grad()
def answer(job: JobFiles, request: Request) -> Result:
    """Compute the answer to a request; see `compute`."""
    if isinstance(request, SimilarityRequest):
        return _similarity(job, request)
    if isinstance(request, CorrelationsRequest):
        return _correlations(job, request)
    return _activations(job, request)


def _similarity(job: JobFiles, request: SimilarityRequest) -> Similarity:
    student, teacher = _pair(job, request.subject)
    table = drawn_examples(job, request.subject, request.examples)
    same_rows(student, teacher, table)
    ours, theirs = student.layers(), teacher.layers()
    student_rows = _features(student, student.encoded(table), ours)
    teacher_rows = _features(teacher, teacher.encoded(table), theirs)
    cka = tuple(
        tuple(
            float(linear_cka(student_NS, teacher_NT, form="kornblith"))
            if stack_of(one) == stack_of(other)
            else None
            for other, teacher_NT in zip(theirs, teacher_rows, strict=True)
        )
        for one, student_NS in zip(ours, student_rows, strict=True)
    )
    return Similarity(ours, theirs, cka, _by_stack(ours, student_rows), len(table))


def _correlations(job: JobFiles, request: CorrelationsRequest) -> Correlations:
    pairs = _pairs(job, request.subject)
    student, teacher = _pair(job, request.subject)
    table = drawn_examples(job, request.subject, request.examples)
    same_rows(student, teacher, table)
    ours = _features(student, student.encoded(table), [pair.student for pair in pairs])
    theirs = _features(teacher, teacher.encoded(table), [pair.teacher for pair in pairs])
    layers = []
    for pair, student_NS, teacher_NT in zip(pairs, ours, theirs, strict=True):
        matched_NS = _term(job, request.subject, pair).matched(teacher_NT)
        correlation = unit_correlation(student_NS, matched_NS)
        layers.append(
            LayerCorrelation(
                pair.student,
                pair.teacher,
                pair.units,
                tuple(round(value, 6) for value in correlation.tolist()),
                pair.target,
            )
        )
    rows = _by_stack([pair.student for pair in pairs], ours)
    return Correlations(tuple(layers), rows, len(table))


def _activations(job: JobFiles, request: ActivationsRequest) -> Activations:
    load = load_teacher if request.side == "teacher" else load_student
    loaded = load(job, request.subject)
    layers = loaded.layers()
    layer = _named(request.layer, layers)
    inputs = loaded.encoded(loaded.example(job, request)).batch([0]).inputs
    decoder = str(layer).startswith("decoder.") and "decoder_input_ids" in inputs
    ids_T = inputs["decoder_input_ids" if decoder else "input_ids"][0]
    with HiddenStateHook(hidden_layer(loaded.model, layer)) as hook:
        loaded.model(**positioned(inputs))
        magnitudes_TD = hook.take()[0].float().abs()
    magnitudes = tuple(tuple(float(f"{v:.4g}") for v in row) for row in magnitudes_TD.tolist())
    tokens = tuple(map(str, loaded.tokenizer.convert_ids_to_tokens(ids_T.tolist())))
    return Activations(tokens, magnitudes, layer, layers)


def _pair(job: JobFiles, subject: Subject) -> tuple[LoadedModel, LoadedModel]:
    return load_student(job, subject), load_teacher(job, subject)


def _pairs(job: JobFiles, subject: Subject) -> Sequence[UnitPairs]:
    """The pairs that the student published."""
    try:
        return read_pairs(job.store.file_at("distill", subject.student, PAIRS))
    except StoreError:
        message = "this student has no stored pairs of units"
        remedy = "choose a student of flexkd; those of an earlier version have to be trained again"
        raise SpecError([Problem("", message, remedy)]) from None


def _term(job: JobFiles, subject: Subject, pair: UnitPairs) -> FeatureTerm:
    """The pairing as the feature loss applied it."""
    from safetensors.torch import load_file

    directions_TC = None
    if pair.target == "directions":
        role = f"select {pair.teacher}"
        selection = job.store.manifest_at("distill", subject.student).needs[role]
        file = job.store.file_at("select", selection, "directions.safetensors")
        directions_TC = load_file(file)["U"].float()
    units = torch.tensor(pair.units)
    term = FeatureTerm(pair.student, pair.teacher, units=units, directions_TC=directions_TC)
    term.signs_S = torch.tensor(pair.signs) if pair.signs else None
    return term


def _features(loaded: LoadedModel, examples: Examples, layers: Sequence[LayerRef]) -> list[Tensor]:
    """The features (N, D) of each layer at the rows that are compared, fp32."""
    module = HiddenStateModel(loaded.model, layers, outputs=False).eval()
    parts: list[dict[str, Tensor]] = []
    try:
        for start in range(0, len(examples), BATCH):
            rows = range(start, min(start + BATCH, len(examples)))
            parts.append(forward(module, examples.batch(rows), CPU))
    finally:
        module.close()
    return [torch.cat([part[str(layer)].float() for part in parts]) for layer in layers]


def _by_stack(layers: Sequence[LayerRef], features: Sequence[Tensor]) -> tuple[int, ...]:
    """How many rows each stack has, in the order of the layers."""
    pairs = zip(layers, features, strict=True)
    return tuple({stack_of(layer): len(rows_ND) for layer, rows_ND in pairs}.values())


def _named(layer: LayerRef, layers: Sequence[LayerRef]) -> LayerRef:
    """The layer of a model that a request means; `last` is the last of all."""
    if layer == "last":
        return layers[-1]
    found = {str(one): one for one in layers}
    if str(layer) not in found:
        remedy = f"its layers are {', '.join(found)}"
        raise SpecError([Problem("layer", f"the model has no layer {layer}", remedy)])
    return found[str(layer)]
