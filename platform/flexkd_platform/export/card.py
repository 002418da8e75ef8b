"""The model card of an exported student: what it was distilled from, how, on what, its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ..data import TEMPLATES
from ..spec import (
    METHODS,
    ClassificationTask,
    FineTuning,
    InstructionTask,
    PretrainedInit,
    RegressionTask,
    ResponseTask,
)
from ..store import StoreError
from ..tracking import params_text
from ..tracking.provenance import versions
from .choosing import Student
from .licences import UNKNOWN, base_source, data_sources, teacher_source

PIPELINES = {"causal": "text-generation", "seq2seq": "summarization"}
"""Tags of the Hub for models that write text."""


@dataclass(frozen=True)
class CardFacts:
    """What only the model itself shows.

    parameters: of the whole model. architecture: its class in transformers.
    labels: names of a classifier's outputs. notes: what its users have to know.
    """

    parameters: int
    architecture: str
    labels: Sequence[str] = ()
    notes: Sequence[str] = ()


def model_card(student: Student, facts: CardFacts) -> str:
    """The card as Markdown, with the YAML front matter that the Hugging Face hub reads."""
    sections = [
        f"---\n{_front_matter(student).to_yaml()}\n---",
        f"# {model_name(student)}",
        _summary(student, facts),
        _use(student, facts),
        *(f"> {note}" for note in facts.notes),
        _table("Teacher", _teacher_rows(student)),
        _table("Training", _method_rows(student)),
        _table("Data", _data_rows(student)),
        _scores(student),
        licence_text(student),
        _origin(student),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def model_name(student: Student) -> str:
    """`quickstart flexkd α=0.5 seed 10`."""
    return f"{student.spec.name} {student.trial.label}"


def pipeline_task(student: Student) -> str:
    """The student's task, as the Hub and pipelines of transformers name it."""
    task = student.spec.task
    return (
        PIPELINES[task.language_model] if isinstance(task, ResponseTask) else "text-classification"
    )


def _front_matter(student: Student) -> ModelCardData:
    spec = student.spec
    bases = [each.hub for each in (base_source(spec) or teacher_source(spec),) if each.hub]
    data = list(dict.fromkeys(each.hub for each in data_sources(spec) if each.hub))
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=pipeline_task(student),
        license=UNKNOWN,
        base_model=bases or None,
        datasets=data or None,
        tags=["knowledge-distillation", "flexkd", student.trial.method],
        metrics=list(spec.metrics),
        model_name=model_name(student),
        eval_results=list(_eval_results(student)),
    )


def _eval_results(student: Student) -> Iterator[EvalResult]:
    spec = student.spec
    own = data_sources(spec)[0]
    for name in spec.metric_names:
        if name not in student.trial.metrics:
            continue
        split, _, metric = name.partition("/")
        further = split in spec.task.evaluation
        yield EvalResult(
            task_type=pipeline_task(student),
            dataset_type=split if further else own.hub or own.name,
            dataset_name=split if further else own.name,
            dataset_split="test" if further else split,
            metric_type=metric,
            metric_name=name,
            metric_value=student.trial.metrics[name],
        )


def _summary(student: Student, facts: CardFacts) -> str:
    what = f"A {facts.architecture} of {facts.parameters:,} parameters for {student.spec.task.kind}"
    how = f"trained by knowledge distillation with the method `{student.trial.method}` of"
    if METHODS[student.trial.method] is FineTuning:
        how = "trained on labels alone, as the baseline `ft` of a distillation with"
    chosen = ""
    if student.chosen_by is not None:
        chosen = (
            f" It was chosen by `{student.chosen_by}` from {student.candidates} trained students."
        )
    return f"{what}, {how} [flexkd](https://arxiv.org/abs/2507.10155).{chosen}"


def _use(student: Student, facts: CardFacts) -> str:
    """Code that loads the model and calls it once."""
    task = student.spec.task
    if isinstance(task, ResponseTask) and task.language_model == "seq2seq":
        code = (
            "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n\n"
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")\n'
            'model = AutoModelForSeq2SeqLM.from_pretrained("FOLDER")\n'
            f'inputs = tokenizer({task_prefix(student)!r} + "A document.", return_tensors="pt")\n'
            "print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))"
        )
    elif isinstance(task, ResponseTask):
        code = (
            "from transformers import pipeline\n\n"
            'generate = pipeline("text-generation", "FOLDER")\n'
            f"prompt = {example_prompt(student)!r}\n"
            'print(generate(prompt, return_full_text=False)[0]["generated_text"])'
        )
    else:
        code = (
            "from transformers import pipeline\n\n"
            'classify = pipeline("text-classification", "FOLDER")\n'
            'print(classify("A text.", truncation=True))'
        )
    text = f"## Use\n```python\n{code}\n```"
    if isinstance(task, RegressionTask):
        return f"{text}\nThe `score` of the output is the predicted number."
    names = ", ".join(f"`{name}`" for name in facts.labels)
    return f"{text}\nClasses: {names}." if isinstance(task, ClassificationTask) else text


def task_prefix(student: Student) -> str:
    """What precedes each document of a summarization; "" for none."""
    return str(getattr(student.spec.task, "prefix", ""))


def example_prompt(student: Student) -> str | list[dict[str, str]]:
    """An instruction as the student reads it: with its template, or as a chat."""
    task = student.spec.task
    assert isinstance(task, InstructionTask), "other tasks have no prompts"
    instruction = "Name three colours."
    if task.template == "chat":
        return [{"role": "user", "content": instruction}]
    return TEMPLATES[task.template][0].format(instruction=instruction)


def _teacher_rows(student: Student) -> Iterator[tuple[str, str]]:
    spec, teacher = student.spec, student.files.results.get("teacher", {})
    yield "teacher", teacher_source(spec).name
    if teacher:
        yield "parameters of the teacher", f"{teacher['parameters']:,}"
    tuned = spec.teacher.finetune
    yield "fine-tuned", "no" if tuned is None else _flat(tuned.to_json())
    for name, value in teacher.get("metrics", {}).items():
        if name in spec.metric_names:
            yield f"teacher's {name}", _shown(value)


def _method_rows(student: Student) -> Iterator[tuple[str, str]]:
    spec, trial = student.spec, student.trial
    yield "method", trial.method
    yield "settings", params_text(trial.params, ", ") or "defaults"
    yield "seed", str(trial.seed)
    yield "training", _flat(spec.distill.to_json())
    init = spec.student.init.to_json()
    if isinstance(spec.student.init, PretrainedInit):
        init.pop("model")
    yield "student", _flat(init)
    base = base_source(spec)
    if base is not None:
        yield "pretrained student", base.name
    if spec.student.lora is not None:
        yield "adapter", f"LoRA, merged: {_flat(spec.student.lora.to_json())}"
    yield "importance of units", _flat(spec.score.to_json())


def _data_rows(student: Student) -> Iterator[tuple[str, str]]:
    for source in data_sources(student.spec):
        yield "data", source.name
    for split, rows in _sizes(student).items():
        yield f"examples of {split}", f"{rows:,}"
    for key in ("max_length", "template", "max_prompt", "max_response", "prefix"):
        if hasattr(student.spec.task, key):
            yield key.replace("_", " "), repr(getattr(student.spec.task, key))


def _sizes(student: Student) -> dict[str, int]:
    """Examples of each split of the task's data; {} if the storage no longer holds them."""
    for step in student.files.results["steps"]:
        if step["kind"] == "dataset":
            with suppress(StoreError):
                summary = student.files.store.manifest_at("dataset", step["hash"]).summary
                if "train" in summary:
                    return {split: entry["rows"] for split, entry in summary.items()}
    return {}


def _scores(student: Student) -> str:
    """This student's scores, and those of its setting over the seeds with their intervals."""
    trial = student.trial
    group: Mapping[str, Any] = next(
        (
            each
            for each in student.files.results["groups"]
            if each["method"] == trial.method and each["params"] == trial.params
        ),
        {"n": 0, "metrics": {}},
    )
    n = group["n"]
    lines = [
        "## Scores",
        f"| metric | this student | mean ± std of {n} seeds | 95% interval of the mean |",
        "|---|---|---|---|",
    ]
    for name in student.spec.metric_names:
        if name in trial.metrics:
            found = group["metrics"].get(name)
            cells = _cells(found) if found else ("–", "–")
            lines.append(f"| {name} | {_shown(trial.metrics[name])} | {' | '.join(cells)} |")
    lines.append(
        "\nMetrics are fractions or in their own unit; the interval is that of the job's results."
    )
    return "\n".join(lines)


def _cells(found: Mapping[str, Any]) -> tuple[str, str]:
    mean, std, interval = found["mean"], found["std"], found["ci95"]
    spread = "" if std is None else f" ± {_shown(std)}"
    low_high = "–" if interval is None else f"[{', '.join(_shown(x) for x in interval)}]"
    return f"{_shown(mean)}{spread}", low_high


def licence_text(student: Student) -> str:
    """The part of the card on the licences of everything that the student is made from."""
    spec = student.spec
    sources = [("teacher", teacher_source(spec))]
    if (base := base_source(spec)) is not None:
        sources.append(("pretrained student", base))
    sources += [("data", each) for each in data_sources(spec)]
    rows = "\n".join(f"| {what} | {each.name} | {each.licence} |" for what, each in sources)
    return (
        "## Licences\nNo licence was chosen for this model. It depends on those of its sources:"
        f"\n\n| | source | licence |\n|---|---|---|\n{rows}"
    )


def _origin(student: Student) -> str:
    used = ", ".join(f"{name} {number}" for name, number in versions().items() if name != "mlflow")
    return (
        "## Origin\n"
        f"flexkd job `{student.job_id}`, trial `{student.trial.hash}`. Exported with {used}."
    )


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    lines = "\n".join(f"| {name} | {_escaped(text)} |" for name, text in rows)
    return f"## {title}\n| | |\n|---|---|\n{lines}"


def _shown(value: float) -> str:
    return f"{value:.4f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _flat(values: Mapping[str, Any]) -> str:
    return params_text({key: value for key, value in values.items() if value is not None}, ", ")
