"""All checks that run before a job starts, and the facts that planning needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..data import DataFacts, check_data
from ..model_info import ModelFacts, check_layer, locate
from ..plan import Facts, layer_refs
from ..search import grid_points
from ..search.choosing import search_problems
from ..spec import (
    BlankModel,
    GridSearch,
    JobSpec,
    ModulePaths,
    PretrainedInit,
    Problem,
    ResponseTask,
    Section,
    SpecError,
    canonical_json,
    counted,
    regresses,
    sha256_of,
    spec_with,
    split_path,
)
from .batch_rows import batch_row_problems, batch_row_warnings
from .classes import class_weight_problems, class_weights_of, count_warnings
from .compatibility import (
    method_problems,
    metric_problems,
    model_problems,
    packing_problems,
    pair_problems,
    scale_problems,
)
from .heads import class_names, head_problems, head_warnings, student_head, teacher_head
from .lengths import TextFacts, checked_texts, truncation_warnings
from .lora import lora_problems
from .model_checks import checked_config, checked_lora, checked_model, checked_student
from .repeated import repeated_warnings
from .selection import geometry_warnings, score_problems, selection_warnings
from .sharded_models import sharing_problems
from .student_rows import student_row_problems
from .vocabularies import alignment_problems, class_warnings

T = TypeVar("T")


class Preflight:
    """Checks data and models once each, even if many points of the axes share them."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def problems(self, spec: JobSpec) -> list[Problem]:
        """All problems of the data, models and settings of a spec, over all points of its axes, and
        at the edges of sampled values.
        """
        found: dict[tuple[str, str], Problem] = {}
        for changes, changed in _points(spec):
            for problem in self._point_problems(changed):
                shown = _with_draw(problem, changes) if spec.sweep.space else problem
                found.setdefault((shown.path, shown.message), shown)
        return list(found.values())

    def warnings(self, spec: JobSpec) -> list[Problem]:
        """Settings of a valid spec that are known to do harm, over all points of its axes."""
        found: dict[tuple[str, str], Problem] = {}
        for _, changed in _points(spec):
            for warning in self._point_warnings(changed):
                found.setdefault((warning.path, warning.message), warning)
        return list(found.values())

    def data(self, spec: JobSpec) -> list[DataFacts]:
        """The facts of every data set of a valid spec, over all points of its axes."""
        found: dict[str, DataFacts] = {}
        for _, changed in _points(spec):
            facts, _ = self._data(changed)
            if facts is not None:
                found.setdefault(canonical_json([facts.fingerprint, dict(facts.sizes)]), facts)
        return list(found.values())

    def _point_warnings(self, spec: JobSpec) -> list[Problem]:
        facts = self.facts_of(spec)
        rows, samples = facts.train_rows, spec.score.samples
        scored = rows if samples == "all" else min(samples, rows)
        selects = any(m.selection is not None and m.uses_features for m in spec.sweep.methods)
        geometry = geometry_warnings(spec, scored, facts.teacher_hidden) if selects else ()
        found = [
            *repeated_warnings(spec),
            *selection_warnings(spec),
            *geometry,
            *class_warnings(spec),
        ]
        return [*found, *self._data_warnings(spec)]

    def _data_warnings(self, spec: JobSpec) -> Iterator[Problem]:
        data, (teacher, _) = self._data(spec)[0], self._teacher(spec)
        if data is None or teacher is None:
            return
        yield from truncation_warnings(self.lengths(spec), spec.task, data)
        yield from data.notes
        yield from head_warnings(spec, data, teacher)
        yield from batch_row_warnings(spec, data)
        yield from count_warnings(spec, data)

    def facts_of(self, spec: JobSpec) -> Facts:
        """The facts that planning needs.

        Raises:
            SpecError: the spec has problems; call `problems` first to see all of them.
        """
        problems = self._point_problems(spec)
        if problems:
            raise SpecError(problems)
        data, _ = self._data(spec)
        teacher, _ = self._teacher(spec)
        student, _ = self._student(spec, teacher)
        bertscore, _ = self._bertscore(spec)
        assert data is not None
        assert teacher is not None
        assert student is not None
        return Facts(
            data_fingerprint=data.fingerprint,
            train_rows=data.sizes["train"],
            outputs=_outputs(spec, data, teacher),
            teacher_fingerprint=_identity(teacher, spec.teacher.modules),
            teacher_hidden=teacher.hidden_size,
            teacher_stacks=teacher.stacks,
            scored=layer_refs(spec.score.layer, teacher.stacks),
            student_fingerprint=student.fingerprint,
            student_hidden=student.hidden_size,
            same_tokenizer=student.tokenizer_digest == teacher.tokenizer_digest,
            student_stacks=student.stacks,
            class_names=class_names(spec, data, teacher),
            class_weights=class_weights_of(spec, data),
            teacher_head=teacher_head(spec, data, teacher),
            student_head=student_head(spec, data, teacher, student),
            sets={name: found.fingerprint for name, found in data.evaluation.items()},
            bertscore=bertscore.fingerprint if bertscore else "",
            word_rules=_word_rules(data),
            conversations=data.conversations is not None and data.conversations.given,
            chat_template=self._texts(spec)[0].chat_template,
            bertscore_source=(
                _source(spec.evaluate.bertscore_model, None, bertscore) if bertscore else ""
            ),
            teacher_source=(
                ""
                if isinstance(spec.teacher.model, BlankModel)
                else _source(spec.teacher.model, spec.teacher.revision, teacher)
            ),
            student_source=(
                _source(spec.student.init.model, spec.student.init.revision, student)
                if isinstance(spec.student.init, PretrainedInit)
                else ""
            ),
        )

    def _point_problems(self, spec: JobSpec) -> list[Problem]:
        data, problems = self._data(spec)
        teacher, found = self._teacher(spec)
        student, student_problems = self._student(spec, teacher)
        problems = [*problems, *found, *student_problems, *_score_problems(spec, data)]
        outputs = None
        if teacher is not None:
            problems += check_layer(spec.score.layer, teacher)
            problems += scale_problems(spec, teacher)
            problems += _untrained_head(spec, teacher)
            problems += head_problems(spec, data, teacher, student)
            problems += packing_problems(spec, teacher, student)
            problems += model_problems(spec, _name(spec.teacher.model), teacher, "teacher.model")
            if data is not None:
                outputs = _outputs(spec, data, teacher)
        if teacher is not None and student is not None:
            if isinstance(spec.student.init, PretrainedInit):
                path = "student.init.model"
                problems += model_problems(spec, spec.student.init.model, student, path)
            problems += pair_problems(spec, teacher, student)
            problems += alignment_problems(spec, data, teacher, student)
            if outputs is not None and isinstance(spec.task, ResponseTask):
                outputs = min(outputs, student.vocab_size)
        problems += [*score_problems(spec), *method_problems(spec, outputs, teacher, student)]
        problems += [*lora_problems(spec), *self._lora_problems(spec, student)]
        of_rows = student_row_problems(spec, data)
        problems += class_weight_problems(spec, data)
        problems += [*of_rows, *batch_row_problems(spec, None if of_rows else data)]
        problems += [*sharing_problems(spec), *metric_problems(spec)]
        problems += self._texts(spec)[1]
        rows = None if data is None or of_rows else data.sizes["train"]
        return [*problems, *self._bertscore(spec)[1], *search_problems(spec, rows)]

    def _bertscore(self, spec: JobSpec) -> tuple[ModelFacts | None, list[Problem]]:
        """The model of BERTScore, if a metric needs it."""
        model = spec.evaluate.bertscore_model
        if "bertscore" not in spec.metrics:
            return None, []
        return self._once(
            "bertscore", model, lambda: checked_model(model, None, path="evaluate.bertscore_model")
        )

    def _texts(self, spec: JobSpec) -> tuple[TextFacts, list[Problem]]:
        """How the models read the data, once all of them are known."""
        data, _ = self._data(spec)
        teacher, _ = self._teacher(spec)
        student, _ = self._student(spec, teacher)
        if data is None or teacher is None:
            return TextFacts(), []
        named = {k: v for k, v in spec.teacher.to_json().items() if k != "finetune"}
        key = [spec.task.to_json(), named, spec.student.init.to_json()]
        return self._once("texts", key, lambda: checked_texts(spec, data, teacher, student))

    def lengths(self, spec: JobSpec) -> Mapping[str, Any]:
        """How many texts of each split and set are truncated, see `TextFacts`."""
        return self._texts(spec)[0].lengths

    def _data(self, spec: JobSpec) -> tuple[DataFacts | None, list[Problem]]:
        return self._once("data", spec.task, lambda: check_data(spec.task))

    def _teacher(self, spec: JobSpec) -> tuple[ModelFacts | None, list[Problem]]:
        model, revision = spec.teacher.model, spec.teacher.revision
        modules = spec.teacher.modules
        if isinstance(model, BlankModel):
            path = "teacher.model.config"
            return self._once(
                "blank teacher",
                model,
                lambda: _layered(checked_config(model, path=path), path),
            )
        path = "teacher.model"
        return self._once(
            "teacher",
            [model, revision, modules and modules.to_json()],
            lambda: _layered(checked_model(model, revision, path=path, modules=modules), path),
        )

    def _student(
        self, spec: JobSpec, teacher: ModelFacts | None
    ) -> tuple[ModelFacts | None, list[Problem]]:
        if teacher is None:
            return None, []
        must_fit = any(m.selection is not None and m.uses_features for m in spec.sweep.methods)
        return self._once(
            "student",
            [spec.student.init.to_json(), teacher.fingerprint, must_fit],
            lambda: _layered(
                checked_student(spec.student.init, teacher, must_fit=must_fit), "student.init.model"
            ),
        )

    def _lora_problems(self, spec: JobSpec, student: ModelFacts | None) -> list[Problem]:
        """The problems of an adapter with the student's architecture."""
        lora = spec.student.lora
        if lora is None or student is None:
            return []
        key = [lora.to_json(), student.fingerprint]
        return self._once("lora", key, lambda: checked_lora(lora, student))[1]

    def _once(self, what: str, key: object, find: Callable[[], T]) -> T:
        plain = key.to_json() if isinstance(key, Section) else key
        name = f"{what} {canonical_json(plain)}"
        if name not in self._seen:
            self._seen[name] = find()
        result: T = self._seen[name]
        return result


def _points(spec: JobSpec) -> Iterator[tuple[Mapping[str, Any], JobSpec]]:
    """Every point of a grid; of a search the edges of its space."""
    if isinstance(spec.sweep.search, GridSearch):
        return ((point, spec_with(spec, point)) for point in grid_points(spec))
    return _searched_points(spec)


def _searched_points(spec: JobSpec) -> Iterator[tuple[Mapping[str, Any], JobSpec]]:
    """Each edge of a distribution or list once, with all others at their first or last edge.

    Incompatible combinations are skipped: each edge is valid by itself, and invalid sampled points
    are left out during planning.
    """
    edges = {path: drawn.edges for path, drawn in spec.sweep.space.items()} | spec.sweep.axes
    first = {path: values[0] for path, values in edges.items()}
    last = {path: values[-1] for path, values in edges.items()}
    singles = [{path: value} for path, values in edges.items() for value in values[1:]]
    for single in [{}, *singles]:
        for others in (first, last):
            point = {**others, **single}
            try:
                changed = spec_with(spec, point)
            except SpecError:
                continue
            yield point, changed
            break


def _with_draw(problem: Problem, point: Mapping[str, Any]) -> Problem:
    """Add the point's value to the message of a problem: the spec file does not contain it."""
    here = split_path(problem.path)
    for path, value in point.items():
        if here and split_path(path)[: len(here)] == here[: len(split_path(path))]:
            shown = value if isinstance(value, str) else canonical_json(value)
            return replace(problem, message=f"{problem.message} (sampled value {path}={shown})")
    return problem


def _source(model: str, revision: str | None, facts: ModelFacts) -> str:
    """The source that a worker loads a model from: not a relative path or a branch."""
    if model.startswith("package:"):
        return model
    place = locate(model, revision)
    return str(place) if isinstance(place, Path) else facts.fingerprint


def _identity(facts: ModelFacts, modules: ModulePaths | None) -> str:
    """What a teacher's results depend on: its files, and the modules that the spec names."""
    if modules is None:
        return facts.fingerprint
    return sha256_of([facts.fingerprint, modules.to_json()])


def _name(model: str | BlankModel) -> str:
    return "the model of this config" if isinstance(model, BlankModel) else model


def _layered(
    checked: tuple[ModelFacts | None, list[Problem]], path: str
) -> tuple[ModelFacts | None, list[Problem]]:
    """The result of a model check, or a single problem if the model has no layers."""
    facts, problems = checked
    if facts is None or all(stack.layers for stack in facts.stacks):
        return checked
    empty = next(stack.name for stack in facts.stacks if not stack.layers)
    whose = f"the {empty} of this model" if empty else "this model"
    message = f"{whose} has 0 layers"
    return None, [*problems, Problem(path, message, "name a model with at least 1 layer")]


def _outputs(spec: JobSpec, data: DataFacts, teacher: ModelFacts) -> int:
    if isinstance(spec.task, ResponseTask):
        return teacher.vocab_size
    if regresses(spec.task.kind):
        return 1
    assert data.classes is not None, "a classification data set has classes"
    return data.classes


def _score_problems(spec: JobSpec, data: DataFacts | None) -> list[Problem]:
    problems = []
    score, allowed = spec.score, spec.task.scored_outputs
    if score.output is not None and score.output not in allowed:
        problems.append(
            Problem(
                "score.output",
                f"{score.output} does not fit {_a(spec.task.kind)} task",
                f"allowed: {', '.join(allowed)}",
            )
        )
    if score.samples != "all" and score.samples <= 0:
        problems.append(
            Problem("score.samples", f"{score.samples} examples cannot be scored", "1 or more")
        )
    elif score.samples != "all" and data is not None and score.samples > data.sizes["train"]:
        problems.append(
            Problem(
                "score.samples",
                f"{score.samples} requested, but train has "
                f"{counted(data.sizes['train'], 'example')}",
                "all, or a smaller number",
            )
        )
    return problems


def _word_rules(data: DataFacts) -> dict[str, str]:
    rules = {name: found.word_rule for name, found in data.evaluation.items()}
    rules |= data.word_rules
    return {name: rule for name, rule in rules.items() if rule != "words"}


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _untrained_head(spec: JobSpec, teacher: ModelFacts) -> list[Problem]:
    """The problem of a teacher that is not fine-tuned and lacks the head for the task."""
    if spec.teacher.finetune is not None or isinstance(spec.task, ResponseTask):
        return []
    if isinstance(spec.teacher.model, BlankModel):
        return []  # reported by `pair_problems`
    if teacher.outputs is not None:
        return []
    return [
        Problem(
            "teacher.finetune",
            f"null, but {_name(spec.teacher.model)} has no classification head",
            "leave finetune out to train one, or name a fine-tuned model",
        )
    ]
